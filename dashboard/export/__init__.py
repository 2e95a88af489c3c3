"""Downloads: the fleet and its history as CSV, JSON lines or Parquet."""
