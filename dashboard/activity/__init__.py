"""Rows and timelines of the activity page."""
