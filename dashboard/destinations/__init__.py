"""Destinations of notifications, as the users of the dashboard may see and change them."""
