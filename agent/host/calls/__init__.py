"""Calls that may hang or never end: system calls, programs and sockets, in a bounded time."""
