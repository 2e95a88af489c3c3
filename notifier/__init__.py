"""Sends messages about alerts and incidents to people and services, as a client of the broker like any other."""
