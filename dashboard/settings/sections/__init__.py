"""The sections of the settings page, a file each; see `dashboard.settings.section`."""
