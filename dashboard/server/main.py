"""The script that Streamlit runs for each visit. `dashboard.page.layout` does the work and stays imported."""

from dashboard import pages
from dashboard.page.layout import render
from dashboard.page.page import discover

render(discover(pages))
