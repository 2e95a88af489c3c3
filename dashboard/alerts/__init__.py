"""Rows and timelines of alerts."""
