"""Messages are lost and late."""

from cli.drill.drill import Drill

DRILL = Drill(
    "link-lossy",
    "Of the samples that simulated machines send, a quarter never arrives, and the rest is up to 1 s late.",
    faults=("loss=25", "delay=1"),
)
