"""What Streamlit itself says, which is English whatever the language; `assets/language.js` puts our words in its place.

`{…}` stands for what Streamlit puts in, such as a number. What its calendar, number fields and lists say besides
comes from a library that goes by the browser's language.
"""

from collections.abc import Mapping
from typing import Final

from dashboard.i18n.language import _, marked

_WORDS: Final = (
    marked("Choose an option"),
    marked("Choose options"),
    marked("Clear all"),
    marked("Clear entry"),
    marked("Clear value"),
    marked("Close"),
    marked("Close fullscreen"),
    marked("Collapse sidebar"),
    marked("Copied"),
    marked("Copy to clipboard"),
    marked("Decrement"),
    marked("Download as PNG"),
    marked("Download as PNG: {title}"),
    marked("Expand sidebar"),
    marked("Fullscreen"),
    marked("Fullscreen: {title}"),
    marked("Help for {name}"),
    marked("Hide password"),
    marked("Increment"),
    marked("Next page"),
    marked("No results"),
    marked("Open"),
    marked("Page"),
    marked("Page not found"),
    marked("Page {n}"),
    marked("Pagination"),
    marked("Press Enter to apply"),
    marked("Previous page"),
    marked("Show password"),
    marked("Sidebar"),
    marked("Skip to main content"),
    marked("The page that you have requested does not seem to exist. Running the app's main page."),
)


def words() -> Mapping[str, str]:
    """Streamlit's words, and ours for them in the current language."""
    return {each.message: _(each) for each in _WORDS}
