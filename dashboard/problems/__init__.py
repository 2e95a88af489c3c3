"""Parts of the problems page."""
