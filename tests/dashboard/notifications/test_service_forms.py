"""The forms of services make URLs that Apprise understands, whatever is entered."""

import pytest

from dashboard.notifications.service_forms import FORMS, make_url
from notifier.sending.apprise_channel import open_service
from schemas.people.services import WEBHOOK_SCHEMES, DestinationError, check_url

PASSWORD = "p@ss:w/rd?x=1&y#z"
SAMPLES: dict[str, dict[str, str]] = {
    "mail": {"to": "ada@example.org", "sender": "f@example.org", "server": "smtp.example.org", "tls": "STARTTLS"},
    "webhook": {"url": "https://example.org/hook"},
    "ntfy": {"topic": "fleet"},
    "telegram": {"token": "123456789:abcdefghij-ABCDEFGHIJ_abcdefghij12", "chat": "-10012345"},
    "slack": {"url": "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"},
    "discord": {"url": f"https://discord.com/api/webhooks/{'1' * 24}/{'a' * 64}"},
    "teams": {"host": "prod-01.westus.logic.azure.com", "workflow": "643e69f83c8944", "signature": "4wr-sig_nature"},
    "matrix": {
        "server": "matrix.example.org",
        "user": "fleet",
        "password": "a:b@c/d?e",
        "room": "#fleet:example.org",
    },
    "pushover": {"user": "u" * 30, "token": "t" * 30},
    "gotify": {"server": "push.example.org", "token": "AbCdEfGh1234567"},
    "pagerduty": {"integration": "a" * 32, "key": "b" * 32},
    "other": {"url": "jsons://example.org/x"},
}


@pytest.mark.parametrize("code", FORMS)
def test_every_form_makes_a_url_that_its_service_accepts(code: str) -> None:
    url = make_url(FORMS[code], SAMPLES[code])
    if check_url(url) not in WEBHOOK_SCHEMES:
        assert open_service(url)


def test_a_password_with_separators_stays_a_password() -> None:
    values = {
        **SAMPLES["mail"],
        "user": "ada@example.org",
        "password": "p@ss:w/rd?x=1&y#z",
        "port": "465",
        "tls": "TLS",
    }
    service = open_service(make_url(FORMS["mail"], values))
    assert service.password == PASSWORD
    assert service.port == 465


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("mail", {"to": ""}),
        ("slack", {"url": "https://evil.example/services/a/b/c"}),
        ("discord", {"url": "https://discord.com.evil.example/api/webhooks/1/2"}),
        ("pushover", {"token": " "}),
    ],
)
def test_what_is_missing_or_of_another_service_is_named(code: str, changed: dict[str, str]) -> None:
    with pytest.raises(DestinationError):
        make_url(FORMS[code], {**SAMPLES[code], **changed})


def test_an_entered_value_cannot_add_a_parameter() -> None:
    url = make_url(FORMS["ntfy"], {"topic": "fleet?template=/etc/passwd", "server": "ntfy.example.org"})
    assert "?" not in url
    url = make_url(FORMS["mail"], {**SAMPLES["mail"], "to": "a@example.org&pgp=sign"})
    assert "&pgp" not in url
