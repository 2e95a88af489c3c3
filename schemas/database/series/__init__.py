"""Queries of series: the newest readings of devices, and their history."""
