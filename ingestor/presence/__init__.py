"""Presence over time: timers, incidents and alerts."""
