"""Which service manager runs this machine."""

from pathlib import Path

BOOTED = Path("/run/systemd/system")
"""Exists exactly when systemd is the init system, see sd_booted(3)."""
