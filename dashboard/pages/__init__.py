"""The pages, a file each; see `dashboard.page.page` for what one must have."""
