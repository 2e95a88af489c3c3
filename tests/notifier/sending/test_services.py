"""Twenty services by name, over TLS to a stub that answers as they do: what arrives is checked.

`Internet` resolves every name to one public address, which leads to the stub; the TLS certificate is the stub's own.
"""

import ast
import base64
import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from apprise.manager_plugins import NotificationManager
from certificates import certificates
from service_stubs import HttpStub, Internet, Received, http_stub
from smtp_stub import Mailbox, running_mailbox

from notifier.sending.channel import send
from notifier.sending.outgoing import Outgoing, SendingError
from schemas.people import services
from schemas.people.services import WEBHOOK_SCHEMES

TITLE, BODY = "Problem: attic: Disk nearly full", "Critical, since 2026-06-01 14:00 CEST"
MESSAGE = Outgoing(TITLE, BODY, "failure", "home-7", {"version": 1, "delivery": "home-7", "title": TITLE, "text": BODY})
HEX32, HEX36 = "0123456789abcdef0123456789abcdef", "01234567-89ab-cdef-0123-456789abcdef"
"""Credentials in the forms that services use."""


@dataclass(frozen=True)
class Service:
    """A service: a URL, the host, path and secret that the request must show, and where its text is."""

    url: str
    host: str
    path: str
    text: Callable[[Received], str]
    carries: str = ""
    answer: bytes = b'{"ok": true, "status": 1, "id": "1"}'
    status: int = 200


def in_json(*path: str | int) -> Callable[[Received], str]:
    def find(request: Received) -> str:
        value: Any = request.json
        for each in path:
            value = value[each]
        return str(value)

    return find


def anywhere(request: Received) -> str:
    """The whole body, with JSON escapes and form encoding undone."""
    text = request.body.decode()
    try:
        text = json.dumps(json.loads(text), ensure_ascii=False)
    except ValueError:
        text = unquote(text.replace("+", " "))
    return text.replace("\\", "")  # as Markdown escapes a hyphen


def in_form(name: str) -> Callable[[Received], str]:
    return lambda request: parse_qs(request.body.decode())[name][0]


SERVICES = {
    "ntfy": Service("ntfys://ntfy.example/fleet?verify=no", "ntfy.example", "/", in_json("message")),
    "Telegram": Service(
        "tgram://123456789:abcdefghij-ABCDEFGHIJ_abcdefghij12/4711/?verify=no",
        "api.telegram.org",
        "/bot123456789:abcdefghij-ABCDEFGHIJ_abcdefghij12/sendMessage",
        in_json("text"),
        carries="4711",
    ),
    "Slack": Service(
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?verify=no",
        "hooks.slack.com",
        "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        anywhere,
        answer=b"ok",
    ),
    "Discord": Service(
        "discord://" + "1" * 24 + "/" + "a" * 64 + "/?verify=no",
        "discord.com",
        "/api/webhooks/" + "1" * 24 + "/" + "a" * 64,
        anywhere,
        status=204,
        answer=b"",
    ),
    "Microsoft Teams": Service(
        "workflows://prod-01.westus.logic.azure.com:443/643e69f83c8944/4wr-sig-nature/?verify=no",
        "prod-01.westus.logic.azure.com",
        "/workflows/643e69f83c8944/triggers/manual/paths/invoke",
        anywhere,
    ),
    "Matrix": Service(
        "matrixs://user:" + "a" * 64 + "@matrix.example/?mode=matrix&verify=no",
        "matrix.example",
        "/api/v1/matrix/hook/" + "a" * 64,
        anywhere,
    ),
    "Pushover": Service(
        "pover://" + "u" * 30 + "@" + "t" * 30 + "/?verify=no",
        "api.pushover.net",
        "/1/messages.json",
        anywhere,
        carries="u" * 30,
    ),
    "Gotify": Service(
        "gotifys://push.example/AbCdEfGh123456?verify=no", "push.example", "/message", in_json("message")
    ),
    "PagerDuty": Service(
        "pagerduty://" + "a" * 32 + "@" + "b" * 32 + "/?verify=no",
        "events.pagerduty.com",
        "/v2/enqueue",
        anywhere,
        carries="a" * 32,
        status=202,
        answer=b'{"status": "success"}',
    ),
    "JSON": Service("jsons://user:pass@hook.example/a/b?verify=no", "hook.example", "/a/b", in_json("message")),
    "Form": Service("forms://hook.example/f?verify=no", "hook.example", "/f", in_form("message")),
    "XML": Service("xmls://hook.example/x?verify=no", "hook.example", "/x", anywhere),
    "Mattermost": Service(
        "mmosts://chat.example/3ccdd113474722377935511fc85d3dd4?verify=no",
        "chat.example",
        "/hooks/3ccdd113474722377935511fc85d3dd4",
        anywhere,
    ),
    "Rocket.Chat": Service(
        "rockets://" + "a" * 17 + "/" + "b" * 40 + "@chat.example?verify=no",
        "chat.example",
        "/hooks/" + "a" * 17 + "/" + "b" * 40,
        anywhere,
    ),
    "Google Chat": Service(
        "gchat://workspace/key/token?verify=no",
        "chat.googleapis.com",
        "/v1/spaces/workspace/messages",
        in_json("text"),
    ),
    "Opsgenie": Service(
        "opsgenie://" + HEX36 + "/?verify=no",
        "api.opsgenie.com",
        "/v2/alerts",
        anywhere,
        carries=HEX36,
        status=202,
        answer=b'{"result": "Request will be processed", "took": 0.3, "requestId": "43a29c5c"}',
    ),
    "Pushbullet": Service("pbul://" + "a" * 34 + "/?verify=no", "api.pushbullet.com", "/v2/pushes", in_json("body")),
    "Zulip": Service(
        "zulip://bot@org/" + "a" * 32 + "/fleet?verify=no", "org.zulipchat.com", "/api/v1/messages", in_form("content")
    ),
    "Splunk On-Call": Service(
        "splunk://fleet@" + HEX36 + "/?verify=no",
        "alert.victorops.com",
        "/integrations/generic/20131114/alert/" + HEX36,
        anywhere,
    ),
    "Home Assistant": Service(
        "hassios://home.example/" + "a" * 40 + "?verify=no",
        "home.example",
        "/api/services/persistent_notification/create",
        in_json("message"),
        carries="a" * 40,
    ),
    "Twilio": Service(
        "twilio://AC" + "a" * 32 + ":" + "b" * 32 + "@15551234567/15557654321/?verify=no",
        "api.twilio.com",
        "/2010-04-01/Accounts/AC" + "a" * 32 + "/Messages.json",
        in_form("Body"),
        status=201,
    ),
    "Webex": Service("webex://" + "a" * 80 + "/?verify=no", "api.ciscospark.com", "/v1/webhooks/incoming/", anywhere),
}


@pytest.fixture(scope="module")
def tls_stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpStub]:
    files = certificates(tmp_path_factory.mktemp("tls"))
    with http_stub(files.certificate, files.key) as stub:
        yield stub


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch, tls_stub: HttpStub) -> Internet:
    found = Internet(monkeypatch)
    found.everything_public = True
    found.ports = {443: tls_stub.port}
    tls_stub.received.clear()
    return found


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("name", SERVICES)
def test_the_message_arrives_as_the_service_expects_it(name: str, tls_stub: HttpStub, internet: Internet) -> None:
    service = SERVICES[name]
    tls_stub.answer = lambda _: (service.status, {"Content-Type": "application/json"}, service.answer)
    answer = send(service.url, MESSAGE, allow_private=False)
    assert answer.startswith(str(service.status))
    (request,) = [each for each in tls_stub.of(service.host) if each.path.startswith(service.path)][-1:]
    assert BODY in service.text(request)
    assert TITLE in anywhere(request)
    shown = f"{request.path} {request.headers} {anywhere(request)}"
    authorization = request.headers.get("authorization", "")
    if authorization.startswith("Basic "):
        shown += base64.b64decode(authorization.removeprefix("Basic ")).decode()
    assert service.carries in shown
    assert internet.reached


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_rejects_the_message_is_not_taken_for_one_that_accepts_it(
    name: str, tls_stub: HttpStub, internet: Internet
) -> None:
    tls_stub.answer = lambda request: (403, {}, f"rejected {request.path}".encode())
    with pytest.raises(SendingError) as caught:
        send(SERVICES[name].url, MESSAGE, allow_private=False)
    assert internet.reached
    assert caught.value.answer.startswith("403")
    for secret in ("a" * 30, "b" * 30, HEX36, "TIiajkdnlazkcOXrIdevi7FQ", "abcdefghij-ABCDEFGHIJ_abcdefghij12"):
        assert secret not in f"{caught.value} {caught.value.answer}"


def test_at_least_twenty_services_are_tested() -> None:
    assert len(SERVICES) >= 20


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


def test_a_mail_arrives_with_subject_text_and_attachment_and_the_servers_answer_is_returned(
    mailbox: Mailbox, tmp_path: Path
) -> None:
    report = tmp_path / "report-home.html"
    report.write_text("<h1>Report</h1>")
    url = f"mailto://127.0.0.1:{mailbox.port}?from=fleet@example.org&to=ada@example.org"
    message = Outgoing(TITLE, BODY, "info", "home-8", attachment=report)
    assert "queued as 4711" in send(url, message, allow_private=True)
    ((recipients, mail),) = mailbox.mails
    assert recipients == ["ada@example.org"]
    assert mail["Subject"] == TITLE
    texts = [str(part.get_content()) for part in mail.walk() if part.get_content_maintype() == "text"]
    assert any(BODY in text for text in texts)
    assert [part.get_filename() for part in mail.iter_attachments()] == ["report-home.html"]


def test_services_speak_only_http_or_smtp_and_their_code_opens_no_other_sockets() -> None:
    """A new version of Apprise may give a service other means: then it leaves the list, or is looked at."""
    manager = NotificationManager()  # type: ignore[no-untyped-call]  # Apprise's
    forbidden = {"socket", "subprocess", "paho", "slixmpp", "importlib", "ctypes", "dbus", "gi", "telnetlib", "ftplib"}
    for scheme in sorted(services.SERVICES.keys() - WEBHOOK_SCHEMES):
        plugin = manager[scheme]
        tree = ast.parse(Path(inspect.getsourcefile(plugin) or "").read_text())
        imported = {
            (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
            for alias in node.names
        }
        assert not imported & forbidden, scheme
