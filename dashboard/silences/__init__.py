"""Silences and acknowledgements: their dialogs, and their texts."""
