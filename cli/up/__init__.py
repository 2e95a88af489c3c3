"""`dashfleet up`: the state directory it prepares and the processes it supervises."""
