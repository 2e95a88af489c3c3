"""A few calls at a time, each of which ends by its own time limit."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

T = TypeVar("T")


def in_parallel(call: Callable[[str], T], names: Sequence[str], *, workers: int, seconds: float) -> dict[str, T]:
    """Return the results by name of the calls that succeeded within `seconds`.

    A call that raises OSError or ValueError has no result. Calls that have not begun by then are not made.
    """
    waiting, results = deque(names), dict[str, T]()
    deadline = monotonic() + seconds

    def work() -> None:
        while monotonic() < deadline:
            try:
                name = waiting.popleft()
            except IndexError:
                return
            try:
                results[name] = call(name)
            except (OSError, ValueError):
                continue

    threads = [threading.Thread(target=work, name="calls", daemon=True) for _ in range(min(workers, len(names)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    return dict(results)
