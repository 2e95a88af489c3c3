"""Data about people that the dashboard, the command line and the notifier share: destinations, routes, deliveries."""
