"""How a process of DashFleet is configured, logs, keeps files and ends."""
