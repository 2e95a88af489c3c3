"""English texts that other code writes, and their translation: agents, alert rules, shared code and Streamlit.

Texts of third-party collectors, actions and rules are shown as they are. Tests check that none of ours is missing.
"""

from collections.abc import Mapping
from typing import Final

from dashboard.i18n.language import _, marked, pgettext
from runtime.translatable import Translatable

_ACTIONS: Final = (
    marked("Configure"),
    marked("Control a container"),
    marked("Control a service"),
    marked("Move to another server"),
    marked("Ping"),
    marked("Pull a file"),
    marked("Push a file"),
    marked("Reboot the machine"),
    marked("Restart the agent"),
    marked("Run a command"),
    marked("Sample now"),
    marked("Show a message"),
    marked("Top processes"),
    marked("Update the agent"),
    marked("As dashfleet files add prints it"),
    marked("Collectors Off"),
    marked("Command"),
    marked("Container"),
    marked("Delay Seconds"),
    marked("Destination"),
    marked("Echo"),
    marked("Interval Seconds"),
    marked("Labels"),
    marked("Mode"),
    marked("Notice"),
    marked("Operation"),
    marked("Parameters"),
    marked("Path"),
    marked("Probes"),
    marked("Replace an existing file"),
    marked("SHA-256 of the bundle"),
    marked("SHA-256 of the file"),
    marked("Service"),
    marked("Such as 0644; without it a new file has 0600, and a replaced file keeps its mode"),
    marked("Text"),
    marked("The text that dashfleet move import writes on the new server"),
    marked("Title"),
    marked("Urgency"),
    marked("Version"),
    marked("start"),
    marked("stop"),
    marked("restart"),
    marked("low"),
    marked("normal"),
    marked("critical"),
)
"""Titles, arguments and choices of the shipped actions."""

_ALERTS: Final = (
    marked("Machine offline"),
    marked("High CPU usage"),
    marked("Metrics unavailable"),
    marked("Disk nearly full"),
    marked("Memory nearly full"),
    marked("Clock off"),
    marked("the connection was lost"),
    marked("no data received"),
    marked("no data received for too long"),
    marked("CPU"),
    marked("Memory"),
    marked("Disk"),
)
"""Titles and details of the shipped alert rules."""

_DEVICE_METRICS: Final = (
    marked("CPU"),
    marked("Memory"),
    marked("Check"),
    marked("Check, percent"),
    marked("Check, bytes"),
    marked("Check, seconds"),
    marked("Check, counter"),
    marked("Duration of a check"),
    marked("Reachable"),
    marked("Response time"),
    marked("Certificate, days left"),
    marked("Disk"),
    marked("Disk used"),
    marked("Free inodes"),
    marked("Wear"),
    marked("Read"),
    marked("Written"),
    marked("Busy"),
    marked("Battery"),
    marked("Sensor"),
    marked("Fan"),
    marked("UPS charge"),
    marked("UPS load"),
    marked("UPS time left"),
    marked("GPU"),
    marked("GPU memory"),
    marked("GPU temperature"),
    marked("GPU power"),
    marked("Core"),
    marked("Errors"),
    marked("Pending updates"),
    marked("Security updates"),
    marked("Pressure, some"),
    marked("Pressure, full"),
)
"""Titles of the shipped metrics of devices, except those of network traffic."""

TEMPLATES: Final = (
    marked("the argument {name} is missing"),
    marked("the argument {name} is missing: {what}"),
    marked("{argument} is missing"),
    marked("there is no argument {name}"),
    marked("{name} must be JSON, such as {example}"),
    marked("{name} must be a number"),
    marked("{name} must be a whole number"),
    marked("{name} must be at least {least}"),
    marked("{name} must be at most {most}"),
    marked("{name} must be one of {choices}"),
    marked("{name} must be text"),
    marked("{name} must be true or false"),
    marked("{name} must have 1 character at least"),
    marked("{name} must have 1 character at most"),
    marked("{name} must have {n} characters at least"),
    marked("{name} must have {n} characters at most"),
    marked("{text} is not a duration: write 90s, 15m, 1h or 7d"),
    marked("{lower} may not be more than {upper}"),
    marked("{name} must be more than {least}"),
    marked("{name} must be less than {most}"),
    marked("{name} is not known here"),
    marked("{name} must be lower-case letters, digits and inner hyphens"),
    marked("{name} must be lower-case letters, digits and underscores, beginning with a letter"),
    marked("{name} must be a time such as 22:00"),
    marked("{name} must be a time zone such as Europe/Paris"),
    marked("{name} must have 1 entry at least"),
    marked("{name} must have 1 entry at most"),
    marked("{name} must have {n} entries at least"),
    marked("{name} must have {n} entries at most"),
)
"""Sentences of `runtime.translatable` and `runtime.sentences.validation_errors`."""

ACCOUNT_RULES: Final = (
    marked("a user's name is 1 to 64 lower-case letters, digits, dots, hyphens or underscores"),
    marked("there is a user {name} already: choose another name"),
    marked("the name of a token is 1 to 63 lower-case letters, digits and inner hyphens"),
    marked("there is an API token {name} already: revoke it first, or choose another name"),
    marked("the name of a destination is 1 to {most} printable characters"),
    marked("there is a destination {name} already: choose another name"),
)
"""Sentences about names of users, API tokens and destinations, which the command line prints in English."""

PASSWORD_RULES: Final = (
    marked("a password has {least} to {most} characters"),
    marked("this password repeats a few characters: choose another one"),
    marked("a password must not contain the name of the user"),
)
"""Sentences of `dashboard.auth.passwords`, which the command line prints in English."""

_STREAMLIT: Final = (
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
"""`assets/language.js` replaces these. `{…}` stands for what Streamlit inserts, such as a number. Other texts of its
calendar, number fields and lists come from a library that follows the browser's language.
"""

KNOWN: Final = frozenset(text.message for text in (*_ACTIONS, *_ALERTS))
METRICS: Final = frozenset(text.message for text in _DEVICE_METRICS)


def translated(said: str) -> str:
    """Translate a text of an agent or an alert rule, if it is known."""
    return _(said) if said in KNOWN else said


def translated_metric(said: str) -> str:
    """Translate the title of a metric of devices, if it is known."""
    traffic = {
        "Received": pgettext("network", "Received"),
        "Sent": pgettext("network", "Sent"),
        "Dropped": pgettext("network", "Dropped"),
    }
    return traffic.get(said) or (_(said) if said in METRICS else said)


def translated_details(said: str) -> str:
    """Translate the known texts in a list such as `CPU, Memory`."""
    return ", ".join(map(translated, said.split(", ")))


def translated_error(error: str | Exception) -> str:
    """Translate a sentence or an error's message, if its template is known."""
    sentence = error.args[0] if isinstance(error, Exception) and error.args else error
    return _(sentence.template, **sentence.values) if isinstance(sentence, Translatable) else str(error)


def streamlit_texts() -> Mapping[str, str]:
    """Return the texts of Streamlit with their translation."""
    return {text.message: _(text) for text in _STREAMLIT}
