"""Forms of common services: their fields, and the URL that they make. Pure.

Invariant: every value is percent-encoded, so that none can add another part to the URL.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from dashboard.i18n.language import Marked, _, marked
from schemas.people.services import DestinationError


@dataclass(frozen=True, slots=True)
class FormField:
    """A field: `secret` is typed hidden, `optional` may stay empty, `options` are chosen from."""

    name: str
    label: Marked
    example: str = ""
    secret: bool = False
    optional: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceForm:
    """A service: its name, its fields, and the URL of their values, which are percent-encoded."""

    name: str
    fields: tuple[FormField, ...]
    url: Callable[[Mapping[str, str]], str]


def make_url(form: ServiceForm, values: Mapping[str, str]) -> str:
    """Return the URL for what was entered. Raises DestinationError if a field is missing."""
    given = {field.name: values.get(field.name, "").strip() for field in form.fields}
    missing = [field for field in form.fields if not field.optional and not given[field.name]]
    if missing:
        raise DestinationError(_("{argument} is missing", argument=_(missing[0].label)), field=missing[0].name)
    raw = form.url is _as_given
    return form.url(given if raw else {name: quote(value, safe="") for name, value in given.items()})


def _as_given(values: Mapping[str, str]) -> str:
    return values["url"]


def _mail(v: Mapping[str, str]) -> str:
    scheme = "mailto" if v["tls"] == _NO_TLS else "mailtos"
    login = f"{v['user']}:{v['password']}@" if v["user"] else ""
    port = f":{v['port']}" if v["port"] else ""
    mode = "&mode=ssl" if v["tls"] == "TLS" else ""
    return f"{scheme}://{login}{v['server']}{port}?smtp={v['server']}&from={v['sender']}&to={v['to']}{mode}"


def _ntfy(v: Mapping[str, str]) -> str:
    login = f"{v['token']}@" if v["token"] else ""
    return f"ntfys://{login}{v['server'] or 'ntfy.sh'}/{v['topic']}"


_NO_TLS: Final = "none"
_URL: Final = marked("URL")
_SERVER: Final = marked("Server")
_TOKEN: Final = marked("Token")

FORMS: Final = {
    "mail": ServiceForm(
        "Mail",
        (
            FormField("to", marked("Recipient"), "oncall@example.org"),
            FormField("sender", marked("Sender"), "fleet@example.org"),
            FormField("server", marked("Mail server"), "smtp.example.org"),
            FormField("port", marked("Port"), "587", optional=True),
            FormField("user", marked("User name"), optional=True),
            FormField("password", marked("Password"), secret=True, optional=True),
            FormField("tls", marked("Encryption"), options=("STARTTLS", "TLS", _NO_TLS)),
        ),
        _mail,
    ),
    "webhook": ServiceForm("Webhook", (FormField("url", _URL, "https://example.org/hook", secret=False),), _as_given),
    "ntfy": ServiceForm(
        "ntfy",
        (
            FormField("topic", marked("Topic"), "fleet-alerts"),
            FormField("server", _SERVER, "ntfy.sh", optional=True),
            FormField("token", _TOKEN, secret=True, optional=True),
        ),
        _ntfy,
    ),
    "telegram": ServiceForm(
        "Telegram",
        (FormField("token", marked("Bot token"), secret=True), FormField("chat", marked("Chat id"), "-100123456")),
        lambda v: f"tgram://{v['token'].replace('%3A', ':')}/{v['chat']}",
    ),
    "slack": ServiceForm(
        "Slack",
        (FormField("url", marked("Webhook URL"), "https://hooks.slack.com/services/T…/B…/…", secret=True),),
        lambda v: _from_address(v["url"], "slack", "hooks.slack.com", "/services/"),
    ),
    "discord": ServiceForm(
        "Discord",
        (FormField("url", marked("Webhook URL"), "https://discord.com/api/webhooks/…/…", secret=True),),
        lambda v: _from_address(v["url"], "discord", "discord.com", "/api/webhooks/"),
    ),
    "teams": ServiceForm(
        "Microsoft Teams",
        (
            FormField("host", _SERVER, "prod-01.westus.logic.azure.com"),
            FormField("workflow", marked("Workflow id")),
            FormField("signature", marked("Signature"), secret=True),
        ),
        lambda v: f"workflows://{v['host']}:443/{v['workflow']}/{v['signature']}/",
    ),
    "matrix": ServiceForm(
        "Matrix",
        (
            FormField("server", _SERVER, "matrix.example.org"),
            FormField("user", marked("User name")),
            FormField("password", marked("Password"), secret=True),
            FormField("room", marked("Room"), "#fleet:example.org"),
        ),
        lambda v: f"matrixs://{v['user']}:{v['password']}@{v['server']}/{v['room']}",
    ),
    "pushover": ServiceForm(
        "Pushover",
        (FormField("user", marked("User key"), secret=True), FormField("token", _TOKEN, secret=True)),
        lambda v: f"pover://{v['user']}@{v['token']}/",
    ),
    "gotify": ServiceForm(
        "Gotify",
        (FormField("server", _SERVER, "push.example.org"), FormField("token", _TOKEN, secret=True)),
        lambda v: f"gotifys://{v['server']}/{v['token']}",
    ),
    "pagerduty": ServiceForm(
        "PagerDuty",
        (
            FormField("integration", marked("Integration key"), secret=True),
            FormField("key", marked("API key"), secret=True),
        ),
        lambda v: f"pagerduty://{v['integration']}@{v['key']}/",
    ),
    "other": ServiceForm(
        "Other", (FormField("url", marked("URL of Apprise"), "zulip://bot@org/token/stream", secret=True),), _as_given
    ),
}
"""The forms, by code, in the order of the menu."""


def _from_address(encoded: str, scheme: str, host: str, path: str) -> str:
    """Return the URL for the address of a webhook, as the service shows it."""
    start = quote(f"https://{host}{path}", safe="")
    if not encoded.startswith(start):
        raise DestinationError(_("the webhook URL begins with {start}", start=f"https://{host}{path}"), field="url")
    return f"{scheme}://{encoded.removeprefix(start).replace('%2F', '/')}/"
