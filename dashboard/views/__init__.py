"""The pages, a file each; see `dashboard.view` for what one must have."""
