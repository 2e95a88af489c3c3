"""Elements that pages are built from: tables, cells, charts, markup, components."""
