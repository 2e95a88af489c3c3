"""The network of the machines is cut again and again."""

from cli.drill.drill import Drill

DRILL = Drill(
    "link-cut",
    "The simulated machines lose their connection about every 5 s, for 2 s on average, without a goodbye.",
    faults=("cuts=720", "cut-seconds=2"),
)
