"""Packets as they come from the network: whatever arrives, only what this package expects is raised."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from brokers import connect_packet, packed, publish_packet, text
from hypothesis import given
from hypothesis import strategies as st

from broker.embedded.codec import (
    ConnectRefused,
    Packet,
    ProtocolViolation,
    is_filter,
    is_topic,
    read_connect,
    read_packet,
)

Read = Callable[[asyncio.StreamReader, int], Awaitable[Packet]]

VALID = (
    connect_packet("home.attic", will=("topic", b"lost", 1, True)),
    publish_packet("topic", b"payload"),
    publish_packet("topic", b"", qos=0),
    packed(0x82, b"\x00\x01" + text("a/+") + b"\x01" + text("b/#") + b"\x00"),
    packed(0xA2, b"\x00\x01" + text("a/+")),
    packed(0x40, b"\x00\x01"),
    packed(0x62, b"\x00\x01"),
    b"\xc0\x00",
    b"\xe0\x00",
)


def read(data: bytes, how: Read, *, max_bytes: int = 1000) -> Packet:
    """The first packet in these bytes, after which the client is gone."""

    async def _read() -> Packet:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await how(reader, max_bytes)

    return asyncio.run(_read())


@pytest.fixture(params=[read_connect, read_packet])
def how(request: pytest.FixtureRequest) -> Read:
    found: Read = request.param
    return found


@pytest.mark.parametrize("packet", VALID)
def test_a_right_packet_is_read_and_is_what_was_sent(packet: bytes) -> None:
    how = read_connect if packet[0] >> 4 == 1 else read_packet
    assert read(packet + b"the next", how).to_bytes() == packet


@given(st.binary(max_size=60))
def test_noise_raises_nothing_unexpected(data: bytes) -> None:
    for how in (read_connect, read_packet):
        try:
            read(data, how)
        except (ProtocolViolation, ConnectRefused, EOFError):
            continue


@given(st.sampled_from(VALID), st.integers(0, 80), st.integers(0, 255))
def test_a_packet_with_one_wrong_byte_raises_nothing_unexpected(packet: bytes, position: int, byte: int) -> None:
    position %= len(packet)
    data = packet[:position] + bytes([byte]) + packet[position + 1 :]
    for how in (read_connect, read_packet):
        try:
            read(data, how)
        except (ProtocolViolation, ConnectRefused, EOFError):
            continue


@given(st.sampled_from([0x10, 0x30, 0x32, 0x34, 0x40, 0x62, 0x82, 0xA2, 0xC0, 0xE0]), st.binary(max_size=40))
def test_a_body_of_noise_raises_nothing_unexpected(first: int, body: bytes) -> None:
    for how in (read_connect, read_packet):
        try:
            read(packed(first, body), how)
        except (ProtocolViolation, ConnectRefused):
            continue


@given(st.sampled_from(VALID), st.integers(0, 80))
def test_a_client_that_goes_in_the_middle_of_a_packet_is_gone(packet: bytes, length: int) -> None:
    how = read_connect if packet[0] >> 4 == 1 else read_packet
    with pytest.raises(EOFError):
        read(packet[: length % len(packet)], how)


def test_a_packet_may_be_as_large_as_the_limit(how: Read) -> None:
    with pytest.raises(ProtocolViolation, match="too large"):
        read(packed(0x30, text("topic") + bytes(994)), how, max_bytes=1000)
    assert read(packed(0x30, text("topic") + bytes(993)), read_packet, max_bytes=1000).data == bytes(993)


@pytest.mark.parametrize(
    "topic", ["a", "/", "a/b", "a//b", " ", "a/$b", "$", "$SYS/x", "dashfleet/v1/home/attic/up/status", "ü"]
)
def test_messages_may_be_published_to_a_topic(topic: str) -> None:
    assert is_topic(topic)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a+", "a\0b"])
def test_no_message_may_be_published_elsewhere(topic: str) -> None:
    assert not is_topic(topic)


@pytest.mark.parametrize("filter_", ["a", "+", "#", "/", "+/+", "a/#", "a/+/b", "+/#", "/#", "$SYS/#", "a//b"])
def test_wildcards_stand_for_whole_levels(filter_: str) -> None:
    assert is_filter(filter_)


@pytest.mark.parametrize("filter_", ["", "a+", "+a", "a#", "#/a", "a/#/b", "##", "++", "a/b#", "a\0", "+#", "#/#"])
def test_other_filters_are_none(filter_: str) -> None:
    assert not is_filter(filter_)
