"""Reachability probes: whether this machine reaches a target, within bounds of time and bytes, whatever it answers."""
