"""Decisions of the notifier: pure, without a database, a transport or a clock."""
