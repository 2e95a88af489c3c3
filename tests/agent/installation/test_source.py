"""Where a bundle comes from: verified before use, bounded, and not over a network that others can change."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.installation.source import BundleSource
from runtime.bundle import builder
from runtime.bundle.manifest import BundleFile
from runtime.errors import UserError

FILE = BundleFile.of("file.whl", b"content")


@pytest.fixture
def answers() -> list[tuple[int, bytes]]:
    """Answers of the server, in their order; the last is repeated."""
    return []


@pytest.fixture
def url(answers: list[tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Retry-After", "7")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:  # noqa: ANN401
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_with_another_content_is_refused_by_its_name(
    url: str, answers: list[tuple[int, bytes]], tmp_path: Path
) -> None:
    answers.append((200, b"changed"))
    with pytest.raises(UserError, match=r"file\.whl from .* does not have the expected SHA-256: nothing was installed"):
        BundleSource(url).fetch(FILE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_manifest_says_is_not_read(url: str, answers: list[tuple[int, bytes]], tmp_path: Path) -> None:
    answers.append((200, bytes(1000)))
    with pytest.raises(UserError, match="larger than the bundle says"):
        BundleSource(url).fetch(FILE, tmp_path)


def test_a_server_that_asks_to_wait_is_given_the_time_that_it_names(
    url: str, answers: list[tuple[int, bytes]], tmp_path: Path
) -> None:
    answers += [(429, b""), (503, b""), (200, b"content")]
    waited: list[float] = []
    path = BundleSource(url, sleep=waited.append).fetch(FILE, tmp_path)
    assert path.read_bytes() == b"content"
    assert waited == [7.0, 7.0]


def test_an_answer_that_will_not_change_is_told_at_once(
    url: str, answers: list[tuple[int, bytes]], tmp_path: Path
) -> None:
    answers.append((404, b""))
    with pytest.raises(UserError, match=r"cannot download from .*: it answered 404"):
        BundleSource(url, sleep=lambda _: pytest.fail("it waits")).fetch(FILE, tmp_path)


@pytest.mark.parametrize("place", ["http://fleet.example.org", "http://10.0.0.5:8501"])
def test_plain_http_beyond_loopback_is_refused_unless_it_is_wanted(place: str) -> None:
    with pytest.raises(UserError, match="others on the network could change"):
        BundleSource(place)
    assert BundleSource(place, insecure=True).is_remote


@pytest.mark.parametrize("place", ["/nowhere", "fleet.example.org", "ftp://fleet.example.org"])
def test_what_is_neither_an_address_nor_a_directory_is_named(place: str) -> None:
    with pytest.raises(UserError, match=f"{place} is neither the address of a dashboard"):
        BundleSource(place)


def test_a_manifest_that_is_not_the_expected_one_is_refused(tmp_path: Path) -> None:
    builder.build(tmp_path)
    source = BundleSource(str(tmp_path))
    assert source.manifest(None) == builder.read(tmp_path)
    with pytest.raises(UserError, match="another bundle than this script was made for"):
        source.manifest("0" * 64)
