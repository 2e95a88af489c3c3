"""The frame of every page: its contract, the layout around it, and how it refreshes."""
