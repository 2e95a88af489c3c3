"""The version of DashFleet; pyproject.toml reads it from here."""

VERSION = "0.2.0"
