"""Adding machines to an organisation."""
