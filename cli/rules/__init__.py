"""`dashfleet rule`: the alert rules of an organisation."""
