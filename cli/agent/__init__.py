"""Commands of `dashfleet agent`."""
