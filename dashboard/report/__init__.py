"""The report of an organisation as one HTML file: its content, charts and formatting."""
