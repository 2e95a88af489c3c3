"""The dashboard: pages that read the database and publish requests."""
