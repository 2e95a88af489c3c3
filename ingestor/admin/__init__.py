"""Administration of the fleet's database: organisations, principals, tokens, keys, enrolment, backup."""
