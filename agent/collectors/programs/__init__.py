"""Collectors of what runs: processes, containers, services."""
