"""Machines and agents restart all the time."""

from cli.drill.drill import Drill

DRILL = Drill(
    "machines-rebooted",
    "The simulated machines reboot, and their agents restart, each about every 10 s.",
    faults=("reboots=360", "restarts=360"),
)
