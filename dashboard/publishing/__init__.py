"""Publishing signed requests from the dashboard."""
