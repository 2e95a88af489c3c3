"""The script that Streamlit runs for every visit. Everything is in `dashboard.page.layout`, which stays imported."""

from dashboard.page.layout import render

render()
