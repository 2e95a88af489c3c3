"""The frame of every page: its contract, layout, refresh, last good figures and system status."""
