"""Changes of settings and credentials: the dialog that requests one, and its outcome."""
