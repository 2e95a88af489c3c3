"""The fleet page: filters, table rows, map, selection."""
