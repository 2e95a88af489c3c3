"""The SQL of the ingestor's transactions."""
