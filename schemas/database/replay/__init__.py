"""Stored history as the messages of the contract, for `dashfleet replay`."""
