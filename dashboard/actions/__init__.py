"""The dialog that runs an action: form, confirmation, progress."""
