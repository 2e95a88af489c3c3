"""State of the notifier in the people's database."""
