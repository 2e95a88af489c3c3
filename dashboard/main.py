"""The script that Streamlit runs for every visit. Everything is in `dashboard.shell`, which stays imported."""

from dashboard.shell import render

render()
