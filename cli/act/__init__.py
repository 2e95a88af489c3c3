"""`dashfleet act` and `dashfleet commands`: run actions on machines, follow and cancel commands."""
