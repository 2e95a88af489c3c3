"""The problems page: its filters, rows and selection, and the texts of incidents."""
