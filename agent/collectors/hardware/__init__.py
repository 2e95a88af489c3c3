"""Collectors of sensors, batteries, graphics processors and power supplies."""
