"""The dialog that runs an action: its form, its confirmation and its progress."""
