"""All SQL that the ingestor writes with."""
