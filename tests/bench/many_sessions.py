"""Many sessions of the dashboard at once, each as a browser's would be, without the browsers.

    python many_sessions.py ADDRESS COOKIE SESSIONS SECONDS

Each opens the fleet page over a real WebSocket and asks for what refreshes as often as the page says, with the hashes
of the messages that it has, as Streamlit's page does. Prints a line of JSON when all have their page; then waits for a
line, lets all refresh, and prints another one at the end.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

_STREAM = "/_stcore/stream"
_CHANGING = "sort=health"
"""A page of machines that are online, so that every value changes."""

_OLDEST_RUNS = 2
"""After so many runs that did not use a message the page forgets it (`global.maxCachedMessageAge`)."""


@dataclass
class Visitor:
    """One session. `took` is how long each refresh was, in seconds."""

    socket: ClientConnection
    page_hash: str = ""
    timers: dict[str, float] = field(default_factory=dict)
    next_at: dict[str, float] = field(default_factory=dict)
    cached: dict[str, int] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    received: int = 0
    missing: int = 0

    async def run(self, fragment: str = "") -> None:
        """Ask for a run of the script, or of what refreshes, and read its answer."""
        asked = BackMsg()
        rerun = asked.rerun_script
        rerun.page_script_hash = self.page_hash
        rerun.fragment_id = fragment
        rerun.query_string = _CHANGING
        rerun.is_auto_rerun = bool(fragment)
        rerun.cached_message_hashes.extend(self.cached)
        rerun.context_info.timezone = "UTC"
        rerun.context_info.locale = "en"
        started = time.monotonic()
        await self.socket.send(asked.SerializeToString())
        while not await self._read():
            pass
        self.took.append(time.monotonic() - started)

    async def _read(self) -> bool:
        """Take one message; whether the run is over."""
        data = await self.socket.recv()
        assert isinstance(data, bytes)
        self.received += len(data)
        message = ForwardMsg.FromString(data)
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.page_hash = message.new_session.page_script_hash
        elif kind == "auto_rerun":
            self.timers[message.auto_rerun.fragment_id] = message.auto_rerun.interval
        elif kind == "stop_auto_rerun":
            for gone in message.stop_auto_rerun.fragment_ids:
                self.timers.pop(gone, None)
        if message.metadata.cacheable:
            self.cached[message.hash] = 0
        if kind == "ref_hash":
            self.missing += message.ref_hash not in self.cached
            self.cached[message.ref_hash] = 0
        if kind == "script_finished":
            self.cached = {each: age + 1 for each, age in self.cached.items() if age < _OLDEST_RUNS}
            return True
        return False

    async def refresh_until(self, end: float, offset: float) -> None:
        """Refresh as often as the page says, until then; the first time after a part of the interval."""
        self.took.clear()
        self.received = 0
        self.next_at = {each: time.monotonic() + offset * seconds for each, seconds in self.timers.items()}
        while (next_ := min(self.next_at.items(), key=lambda pair: pair[1]))[1] < end:
            fragment, at = next_
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            await self.run(fragment)
            self.next_at[fragment] = max(time.monotonic(), at + self.timers[fragment])


async def visit(address: str, cookie: str) -> Visitor:
    """A session with its first page."""
    host = urlsplit(address).netloc
    socket = await connect(
        f"ws://{host}{_STREAM}",
        additional_headers={"cookie": cookie},
        origin=address,  # type: ignore[arg-type]  # a NewType of str
        subprotocols=["streamlit"],  # type: ignore[list-item]  # as above
        max_size=None,
        compression=None,  # as the server has it
    )
    visitor = Visitor(socket)
    await visitor.run()
    assert visitor.timers, "nothing on this page refreshes"
    return visitor


async def main(address: str, cookie: str, sessions: int, seconds: float) -> None:
    """Open them one after the other, then let all refresh at once."""
    visitors = [await visit(address, cookie) for _ in range(sessions)]
    print(json.dumps({"sessions": len(visitors), "first_bytes": visitors[0].received}), flush=True)
    sys.stdin.readline()
    end = time.monotonic() + seconds
    await asyncio.gather(*(each.refresh_until(end, i / sessions) for i, each in enumerate(visitors)))
    took = sorted(seconds for each in visitors for seconds in each.took)
    said = {
        "refreshes": len(took),
        "median": took[len(took) // 2],
        "slow": took[len(took) * 95 // 100],
        "bytes": sum(each.received for each in visitors),
        "missing": sum(each.missing for each in visitors),
    }
    print(json.dumps(said), flush=True)
    await asyncio.gather(*(each.socket.close() for each in visitors))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
