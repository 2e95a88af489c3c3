"""`dashfleet up` and `dashfleet setup`: prepare a state directory, run and supervise all parts."""
