"""`dashfleet notify`: who is notified of alerts, and what was sent."""
