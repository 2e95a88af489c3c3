"""Simulated machines: real agents in one process, with made-up readings and faults, to size and test a server."""
