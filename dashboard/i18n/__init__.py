"""Languages: catalogues, translated texts, and the format of dates, numbers and durations."""
