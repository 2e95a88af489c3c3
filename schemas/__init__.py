"""Contract, database and domain rules that all parts share."""
