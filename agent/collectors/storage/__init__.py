"""Collectors of disks and file systems."""
