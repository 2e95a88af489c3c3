"""Threads for hashing passwords, apart from those that serve signed-in users.

Invariants:
- Sign-ins never occupy the threads that other requests need, however many arrive.
- At most `RUNNING_MAX` are verified and `QUEUED_MAX` wait; more are refused at once, before they are counted as failed.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final, ParamSpec, TypeVar

RUNNING_MAX: Final = 2
"""Each hash takes 64 MiB."""

QUEUED_MAX: Final = 32

P = ParamSpec("P")
T = TypeVar("T")


class HashingBusyError(Exception):
    """Too many sign-ins are waiting."""


class HashingPool:
    """The threads; used from one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RUNNING_MAX, "hashing")
        self._reserved = 0

    @contextmanager
    def reserve(self) -> Iterator[None]:
        """Reserve a place in the queue for a sign-in. Raises HashingBusyError."""
        if self._reserved >= RUNNING_MAX + QUEUED_MAX:
            raise HashingBusyError
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1

    async def run(self, function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Call a function that hashes, in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *given, **named))
