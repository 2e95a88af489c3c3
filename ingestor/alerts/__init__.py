"""Alerts: the contract of a rule, and the engine that evaluates rules."""
