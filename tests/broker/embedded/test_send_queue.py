"""What waits for one client of the embedded broker."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from broker.client.transport import Message
from broker.embedded.send_queue import SendQueue


class Writer:
    """A socket that takes what it is given until it is told to stall, or to break."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    def write(self, data: bytes) -> None:
        self.taken.append(data)

    async def drain(self) -> None:
        if self.broken:
            raise ConnectionResetError
        await self.open.wait()

    @property
    def payloads(self) -> list[int]:
        """The last byte of each packet: these tests send payloads of one byte."""
        data, found = b"".join(self.taken), []
        while data:
            end = 2 + data[1]
            found.append(data[end - 1])
            data = data[end:]
        return found


def message(number: int, *, qos: int = 1, retain: bool = False) -> Message:
    return Message("topic", bytes([number]), qos, retain)


def play(
    scenario: Callable[[SendQueue, Writer], Awaitable[None]], *, max_bytes: int = 10_000, window: int = 10
) -> None:
    """Run a scenario beside the task that sends."""

    async def both() -> None:
        outgoing, writer = SendQueue(max_bytes=max_bytes, window=window), Writer()
        sender = asyncio.create_task(outgoing.send(writer))  # type: ignore[arg-type]
        await scenario(outgoing, writer)
        sender.cancel()
        with suppress(asyncio.CancelledError):
            await sender

    asyncio.run(both())


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_is_handed_over_together_is_sent_together() -> None:
    async def scenario(outgoing: SendQueue, writer: Writer) -> None:
        for number in range(5):
            outgoing.deliver(message(number))
        await turns()
        assert writer.payloads == [0, 1, 2, 3, 4]
        assert len(writer.taken) == 1

    play(scenario)


def test_a_reply_overtakes_what_waits() -> None:
    async def scenario(outgoing: SendQueue, writer: Writer) -> None:
        outgoing.deliver(message(1))
        outgoing.reply(b"\xd0\x00")
        await turns()
        assert b"".join(writer.taken).startswith(b"\xd0\x00")

    play(scenario)


def test_a_full_window_holds_messages_back_but_no_replies() -> None:
    async def scenario(outgoing: SendQueue, writer: Writer) -> None:
        for number in range(4):
            outgoing.deliver(message(number))
        await turns()
        assert writer.payloads == [0, 1]
        outgoing.reply(b"\x40\x02\x00\x09")
        await turns()
        assert writer.payloads == [0, 1, 9]
        outgoing.acknowledged(1)
        await turns()
        assert writer.payloads == [0, 1, 9, 2]

    play(scenario, window=2)


def test_qos_0_needs_no_place_in_the_window() -> None:
    async def scenario(outgoing: SendQueue, writer: Writer) -> None:
        for number in range(4):
            outgoing.deliver(message(number, qos=0))
        await turns()
        assert writer.payloads == [0, 1, 2, 3]

    play(scenario, window=1)


def test_packet_ids_begin_again_after_the_last_and_leave_out_those_in_use() -> None:
    async def scenario(outgoing: SendQueue, writer: Writer) -> None:
        seen = []
        for number in range(65_540):
            outgoing.deliver(message(number % 256))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            identifier = int.from_bytes(writer.taken.pop()[9:11])
            seen.append(identifier)
            if identifier != 1:
                outgoing.acknowledged(identifier)
        assert seen == [*range(1, 65_536), 2, 3, 4, 5, 6]

    play(scenario)


def test_what_waits_is_bounded_and_what_was_sent_is_not_counted() -> None:
    async def scenario(outgoing: SendQueue, writer: Writer) -> None:
        writer.open.clear()
        outgoing.deliver(message(0, qos=0))
        await turns()
        for number in range(9):
            outgoing.deliver(message(number, qos=0))
            assert not outgoing.overflowing
        outgoing.deliver(message(9, qos=0))
        assert outgoing.overflowing
        writer.open.set()
        await turns()
        assert not outgoing.overflowing
        assert len(writer.payloads) == 11

    play(scenario, max_bytes=1000)


def test_replies_that_wait_are_bounded_too() -> None:
    async def scenario(outgoing: SendQueue, writer: Writer) -> None:
        writer.open.clear()
        outgoing.reply(b"\xd0\x00")
        await turns()
        for _ in range(500):
            assert not outgoing.overflowing
            outgoing.reply(b"\xd0\x00")
        outgoing.reply(b"\xd0\x00")
        assert outgoing.overflowing

    play(scenario, max_bytes=1000)


def test_a_retained_message_that_waits_takes_no_memory_of_its_own() -> None:
    async def scenario(outgoing: SendQueue, _: Writer) -> None:
        outgoing.deliver(Message("topic", bytes(5000), 1, retain=True))
        assert not outgoing.overflowing
        outgoing.deliver(Message("topic", bytes(5000), 1))
        assert outgoing.overflowing

    play(scenario, max_bytes=1000)


def test_a_lost_connection_ends_the_sending() -> None:
    async def scenario() -> None:
        outgoing, writer = SendQueue(max_bytes=1000, window=1), Writer()
        writer.broken = True
        outgoing.reply(b"\xd0\x00")
        await asyncio.wait_for(outgoing.send(writer), 5)  # type: ignore[arg-type]

    asyncio.run(scenario())
