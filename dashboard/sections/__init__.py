"""The sections of the settings page, a file each; see `dashboard.section`."""
