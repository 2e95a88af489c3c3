"""Translation: catalogues, translated texts, and formats of dates, numbers and durations."""
