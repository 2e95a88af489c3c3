"""The clocks of the machines are wrong."""

from cli.drill.drill import Drill

DRILL = Drill(
    "clocks-wrong",
    "The clocks of the simulated machines are wrong by hours, and each begins with 30 s of samples to send.",
    faults=("clock-error=7200", "backlog=30"),
)
