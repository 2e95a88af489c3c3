"""Commands of `dashfleet`, one module per group."""
