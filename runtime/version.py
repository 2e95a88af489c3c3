"""The version of this DashFleet, the only place that has it."""

VERSION = "0.2.0"
