"""Processes of DashFleet: configuration, logging, files, start and shutdown."""
