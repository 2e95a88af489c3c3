"""Elements of pages: tables, cells, charts, markup and custom components."""
