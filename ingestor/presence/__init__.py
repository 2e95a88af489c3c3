"""Presence over time: timers, incidents, and the organisations' published configuration."""
