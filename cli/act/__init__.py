"""`dashfleet act`: from words on the command line to signed orders, and their progress."""
