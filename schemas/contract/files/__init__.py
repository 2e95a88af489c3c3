"""Messages about files that are sent in chunks."""
