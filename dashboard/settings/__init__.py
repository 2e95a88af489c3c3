"""The settings page: its sections, the dialog that changes something, and requests still pending."""
