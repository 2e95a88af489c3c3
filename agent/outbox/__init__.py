"""Samples on disk from the moment they are taken until the ingestor acknowledges them."""
