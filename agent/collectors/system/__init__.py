"""Collectors of the operating system: cores, interfaces, pressure, users, updates."""
