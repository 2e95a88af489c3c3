"""The report of an organisation: gathered, summed up, drawn as one HTML file."""
