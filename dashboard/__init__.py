"""What operators see: pages that read the database and publish requests."""
