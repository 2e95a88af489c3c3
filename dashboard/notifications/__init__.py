"""The page of notifications: destinations, routes, templates, deliveries."""
