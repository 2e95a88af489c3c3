"""Moving machines between servers: what the old and the new server tell each other, in files."""
