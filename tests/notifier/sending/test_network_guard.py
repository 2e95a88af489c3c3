"""No message reaches an internal address, however it is written, resolved or redirected to."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import pytest
from service_stubs import PUBLIC, HttpStub, Internet, Received, http_stub

from notifier.sending.channel import send
from notifier.sending.network_guard import ForbiddenAddressError, guarded
from notifier.sending.outgoing import Outgoing, SendingError
from notifier.sending.redaction import redact
from runtime.errors import UserError
from schemas.people.addresses import is_allowed

MESSAGE = Outgoing("Title", "Body", "failure", "1", {"alerts": []})
NAMES = {
    "internal.example": ["127.0.0.1"],
    "private.example": ["10.1.2.3"],
    "metadata.example": ["169.254.169.254"],
    "v6.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "6to4.example": ["2002:7f00:1::"],
    "rebinding.example": [PUBLIC, "127.0.0.1"],
    "rebinding-back.example": ["127.0.0.1", PUBLIC],
}
FORGED = (
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",  # noqa: S104 - a target here
    "00000000000000000000000000000177.0.0.1",
    "127.255.255.254",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[ff02::1]",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "168.63.129.16",
    "192.0.0.192",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "240.0.0.1",
    "[100::1]",
    "[2001:db8::1]",
    *(name for name in NAMES if name != "rebinding.example"),
)
USERINFO = (
    f"http://{PUBLIC}@127.0.0.1:{{port}}/",
    f"http://{PUBLIC}%2f@127.0.0.1:{{port}}/",
    f"http://{PUBLIC}:80@127.0.0.1:{{port}}/",
    f"http://127.0.0.1:{{port}}\\@{PUBLIC}/",
    f"http://127.0.0.1:{{port}}#@{PUBLIC}/",
    f"http://127.0.0.1:{{port}}?@{PUBLIC}/",
    f"form://user:{PUBLIC}@127.0.0.1:{{port}}/",
    f"json://user:{PUBLIC}@127.0.0.1:{{port}}/",
)


@pytest.fixture(scope="module")
def inside() -> Iterator[HttpStub]:
    """A server on this machine that must never be reached."""
    with http_stub() as stub:
        yield stub


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Internet:
    found = Internet(monkeypatch)
    found.names = dict(NAMES)
    return found


def refused(url: str) -> str:
    with pytest.raises((SendingError, UserError)) as caught:
        send(url, MESSAGE, allow_private=False, secret="s", seconds=10)
    return str(caught.value)


@pytest.mark.parametrize("host", FORGED)
def test_no_way_of_writing_an_internal_address_causes_a_connection(
    host: str, internet: Internet, inside: HttpStub
) -> None:
    for url in (f"http://{host}:{inside.port}/", f"json://{host}:{inside.port}/"):
        before = len(inside.received)
        internet._turn.clear()
        refused(url)
        assert internet.reached == []
        assert len(inside.received) == before


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "internal.example", "10.0.0.1"])
@pytest.mark.parametrize("scheme", ["mailto", "mailtos"])
def test_mail_is_sent_to_no_internal_server(scheme: str, host: str, internet: Internet, inside: HttpStub) -> None:
    refused(f"{scheme}://user:password@example.org:{inside.port}/?smtp={host}&to=ada@example.org")
    refused(f"{scheme}://{host}:{inside.port}/?to=ada@example.org&from=a@example.org")
    assert internet.reached == []


@pytest.mark.parametrize("url", USERINFO)
def test_a_user_name_that_looks_like_a_host_does_not_hide_the_host(
    url: str, internet: Internet, inside: HttpStub
) -> None:
    internet.ports[80] = inside.port
    before = len(inside.received)
    with suppress(SendingError, UserError):  # a tolerant parser may go to the public address, and succeed
        send(url.format(port=inside.port), MESSAGE, allow_private=False, secret="s", seconds=10)
    assert set(internet.reached) <= {PUBLIC}
    assert all(each.host.startswith(PUBLIC) for each in inside.received[before:])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_an_internal_address_is_not_followed(status: int, internet: Internet, inside: HttpStub) -> None:
    for target in ("127.0.0.1", "2130706433", "[::1]", "internal.example", "[::ffff:7f00:1]"):
        with http_stub() as outside:
            location = f"http://{target}:{inside.port}/secret"

            def redirect(_: Received, location: str = location) -> tuple[int, dict[str, str], bytes]:
                return status, {"Location": location}, b""

            outside.answer = redirect
            internet.ports[8080] = outside.port
            internet.reached.clear()
            before = len(inside.received)
            refused(f"json://{PUBLIC}:8080/")
            refused(f"http://{PUBLIC}:8080/")
            assert set(internet.reached) == {PUBLIC}
            assert len(inside.received) == before


def test_a_name_that_changes_its_address_after_the_check_is_checked_again(internet: Internet, inside: HttpStub) -> None:
    with http_stub() as outside:
        internet.ports[8080] = outside.port
        send("json://rebinding.example:8080/", MESSAGE, allow_private=False)
        refused("json://rebinding.example:8080/")
    assert internet.reached == [PUBLIC]
    assert len(outside.received) == 1
    assert not inside.received


def test_an_internal_address_is_allowed_only_to_a_destination_for_which_the_owner_allows_it(inside: HttpStub) -> None:
    assert "200" in send(f"http://127.0.0.1:{inside.port}/hook", MESSAGE, allow_private=True, secret="s")
    assert inside.received.pop().path == "/hook"
    assert "not a public address" in refused(f"http://127.0.0.1:{inside.port}/hook")


def test_an_address_that_is_forbidden_is_not_tried_again_but_a_service_that_answered_is(
    internet: Internet, inside: HttpStub
) -> None:
    def is_permanent(url: str) -> bool:
        with pytest.raises(SendingError) as caught:
            send(url, MESSAGE, allow_private=False, secret="s", seconds=10)
        assert "not a public address" in str(caught.value)
        assert "remove the destination and add it again" in str(caught.value)
        return caught.value.permanent

    assert is_permanent("http://10.1.2.3/")
    assert is_permanent("json://private.example/")
    with http_stub() as outside:
        outside.answer = lambda _: (307, {"Location": f"http://127.0.0.1:{inside.port}/"}, b"")
        internet.ports[8080] = outside.port
        assert not is_permanent(f"json://{PUBLIC}:8080/")


def test_metadata_and_link_local_addresses_are_never_allowed() -> None:
    for address in ("169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "::", "224.0.0.1"):
        assert not is_allowed(address, allow_private=True)
    for address in ("127.0.0.1", "10.0.0.1", "::1", "fd12::1"):
        assert is_allowed(address, allow_private=True)
        assert not is_allowed(address, allow_private=False)
    for address in ("1.1.1.1", "2606:4700:4700::1111", PUBLIC):
        assert is_allowed(address, allow_private=False)


def test_a_proxy_of_the_environment_is_not_used(
    internet: Internet, inside: HttpStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{inside.port}")
    with http_stub() as outside:
        internet.ports[8080] = outside.port
        send(f"json://{PUBLIC}:8080/", MESSAGE, allow_private=False)
        assert len(outside.received) == 1
    assert internet.reached == [PUBLIC]


def test_a_socket_of_another_kind_is_not_opened_and_code_outside_of_a_sending_is_not_affected(
    inside: HttpStub,
) -> None:
    with (
        guarded(allow_private=True, seconds=5),
        socket.socket(socket.AF_UNIX) as local,
        pytest.raises(ForbiddenAddressError),
    ):
        local.connect("/run/any.sock")
    with socket.create_connection(("127.0.0.1", inside.port), 5):
        pass


def test_a_service_that_hangs_or_answers_without_end_is_cut_off(internet: Internet) -> None:
    with http_stub() as outside:
        internet.ports[8080] = outside.port
        outside.hang = threading.Event()
        before = time.monotonic()
        with pytest.raises(SendingError, match="took too long"):
            send(f"http://{PUBLIC}:8080/", MESSAGE, allow_private=False, secret="s", seconds=0.3)
        assert time.monotonic() - before < 5
    with http_stub() as outside:
        internet.ports[8080] = outside.port
        outside.answer = lambda _: (200, {}, b"x" * (4 << 20))
        assert len(send(f"json://{PUBLIC}:8080/", MESSAGE, allow_private=False)) < 1000


@pytest.mark.parametrize("scheme", ["http", "json"])
def test_an_answer_whose_body_cannot_be_read_is_still_an_answer(scheme: str, inside: HttpStub) -> None:
    url = f"{scheme}://127.0.0.1:{inside.port}/hook"
    inside.answer = lambda _: (200, {"Content-Encoding": "gzip"}, b"no gzip")
    assert send(url, MESSAGE, allow_private=True) == "200 OK"
    inside.answer = lambda _: (503, {"Content-Encoding": "gzip"}, b"no gzip")
    with pytest.raises(SendingError):
        send(url, MESSAGE, allow_private=True)


def test_a_mail_server_whose_answer_does_not_end_is_cut_off_at_the_bound(internet: Internet) -> None:
    lines = 0
    with socket.create_server(("127.0.0.1", 0)) as server:

        def flood() -> None:
            nonlocal lines
            connection, _ = server.accept()
            with connection, suppress(OSError):
                while lines < 10_000:
                    connection.sendall(b"220-" + b"x" * 1000 + b"\r\n")
                    lines += 1

        thread = threading.Thread(target=flood)
        thread.start()
        internet.ports[25] = server.getsockname()[1]
        with pytest.raises(SendingError):
            send(f"mailto://a:b@{PUBLIC}:25?to=a@example.org", MESSAGE, allow_private=False)
        thread.join(10)
    assert lines < 10_000


@pytest.mark.parametrize(
    "url",
    [
        f"https://{'a' * 64}.example.org/hook",
        "https://a..b/hook",
        "https://.a/hook",
        "https://\u65e5:\u672c@127.0.0.1/hook",
        "https://127.0.0.1:99999/hook",
        "https://127.0.0.1:x/hook",
        "https://[::1]extra/hook",
        "https://*/hook",
        "json://user:\u65e5@127.0.0.1/",
    ],
)
def test_a_url_that_cannot_be_used_is_an_error_of_its_destination(url: str) -> None:
    with pytest.raises(SendingError):
        send(url, MESSAGE, allow_private=False, secret="s")


@pytest.mark.parametrize(
    "url",
    [
        "dbus://",
        "syslog://",
        "windows://",
        "macosx://",
        "file:///etc/passwd",
        "mqtt://broker/topic",
        "rsyslog://10.0.0.1",
        "fcm://key",
        "vapid://key",
        "python://x",
        "gopher://x",
        "//example.org",
        "example.org",
        "http://",
        "http://exa mple.org/",
        "http://example.org/\r\nX: y",
        "mailto://a:b@example.org?pgp=sign",
        "mailto://a:b@example.org?PGPKEY=/etc/passwd",
        "slack://A/B/C?template=/etc/passwd",
        "discord://a/b?template=/etc/passwd",
        "workflow://h/a/b/?%74emplate=/etc/passwd",
        "tgram://1:a/b?template=/etc/passwd",
    ],
)
def test_schemes_and_parameters_that_act_on_the_server_are_rejected(url: str) -> None:
    with pytest.raises(UserError):
        send(url, MESSAGE, allow_private=True)


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("https://example.org/services/T0S3CR3T", "no hook /services/T0S3CR3T"),
        ("https://ada:pass%40word@example.org/", "wrong password pass@word"),
        ("https://ada:hunter22@example.org/", "Authorization: Basic YWRhOmh1bnRlcjIy"),
        ("json://ada:s3cr3t%2F@example.org/", "Basic YWRhOnMzY3IzdC8="),
    ],
)
def test_what_a_service_answers_with_is_shown_without_the_secrets_of_the_url(url: str, answer: str) -> None:
    shown = redact(answer, url)
    assert "***" in shown
    for secret in ("T0S3CR3T", "pass@word", "YWRhOmh1bnRlcjIy", "YWRhOnMzY3IzdC8"):
        assert secret not in shown


def test_the_corpus_has_at_least_fifty_addresses_without_repetition() -> None:
    assert len(FORGED) >= 50
    assert all(first != second for first, second in pairwise(sorted(FORGED)))
