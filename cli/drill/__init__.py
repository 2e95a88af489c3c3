"""`dashfleet drill`: named faults against a test installation, and what was kept and lost."""
