"""Checks of `dashfleet agent doctor`, one per file."""
