"""The outbox: samples are stored here from the moment they are taken until the ingestor acknowledges them."""
