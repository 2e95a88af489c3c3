"""A thread waits for its connection; another one wakes it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from broker.client.socket_waiter import SocketWaiter

LONG_SECONDS = 60.0


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


@pytest.fixture
def waiter(ends: tuple[socket.socket, socket.socket]) -> Iterator[SocketWaiter]:
    with closing(SocketWaiter(lambda: ends[0])) as waiter:
        yield waiter


def waited(waiter: SocketWaiter, seconds: float = LONG_SECONDS) -> float:
    began = time.monotonic()
    waiter.wait(seconds)
    return time.monotonic() - began


def test_data_ends_the_wait(ends: tuple[socket.socket, socket.socket], waiter: SocketWaiter) -> None:
    here, there = ends
    there.send(b"x")
    assert waited(waiter) < LONG_SECONDS
    assert here.recv(10) == b"x"


def test_another_thread_ends_the_wait_and_a_wake_before_it_ends_the_next_one_only(waiter: SocketWaiter) -> None:
    thread = threading.Thread(target=waiter.wake)
    thread.start()
    assert waited(waiter) < LONG_SECONDS
    thread.join()
    for _ in range(100_000):  # more than the pair of sockets holds
        waiter.wake()
    assert waited(waiter) < LONG_SECONDS
    assert waited(waiter, 0.05) >= 0.05


def test_waking_after_the_end_does_nothing(waiter: SocketWaiter) -> None:
    waiter.close()
    waiter.wake()
    assert -1 in {waiter._woken.fileno(), waiter._waking.fileno()}


def test_without_a_socket_there_is_no_wait() -> None:
    with closing(SocketWaiter(lambda: None)) as waiter:
        assert waited(waiter) < LONG_SECONDS
