"""Services that a destination may use: the schemes of their URLs, and parameters that are rejected.

Invariants:
- A scheme that is not listed is rejected. Listed services speak HTTP or SMTP and nothing else: none acts on the server
  itself (`dbus`, `syslog`, `windows`, `file`), and none loads code or reads files.
- Parameters that name files or keys on the server are rejected, whatever the service.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from runtime.errors import UserError
from schemas.database.engine import storable

URL_MAX: Final = 2000

WEBHOOK_SCHEMES: Final = frozenset(("http", "https"))
"""Plain addresses: signed webhooks (`notifier.sending.webhook`)."""

MAIL_SCHEMES: Final = frozenset(("mailto", "mailtos"))

SERVICES: Final[Mapping[str, str]] = {
    "http": "Webhook",
    "https": "Webhook",
    "mailto": "Mail",
    "mailtos": "Mail",
    "ntfy": "ntfy",
    "ntfys": "ntfy",
    "tgram": "Telegram",
    "slack": "Slack",
    "discord": "Discord",
    "workflow": "Microsoft Teams",
    "workflows": "Microsoft Teams",
    "matrix": "Matrix",
    "matrixs": "Matrix",
    "pover": "Pushover",
    "gotify": "Gotify",
    "gotifys": "Gotify",
    "pagerduty": "PagerDuty",
    "apprise": "Apprise API",
    "apprises": "Apprise API",
    "bark": "Bark",
    "barks": "Bark",
    "betterstack": "Better Stack",
    "brevo": "Brevo",
    "chanify": "Chanify",
    "clicksend": "ClickSend",
    "dingtalk": "DingTalk",
    "feishu": "Feishu",
    "flock": "Flock",
    "form": "Form",
    "forms": "Form",
    "gchat": "Google Chat",
    "goalert": "GoAlert",
    "goalerts": "GoAlert",
    "guilded": "Guilded",
    "hassio": "Home Assistant",
    "hassios": "Home Assistant",
    "ifttt": "IFTTT",
    "ilert": "iLert",
    "incidentio": "incident.io",
    "jira": "Jira Service Management",
    "join": "Join",
    "json": "JSON",
    "jsons": "JSON",
    "lark": "Lark",
    "line": "LINE",
    "mailgun": "Mailgun",
    "mmost": "Mattermost",
    "mmosts": "Mattermost",
    "msgbird": "MessageBird",
    "nctalk": "Nextcloud Talk",
    "nctalks": "Nextcloud Talk",
    "notifiarr": "Notifiarr",
    "opsgenie": "Opsgenie",
    "pagertree": "PagerTree",
    "pbul": "Pushbullet",
    "plivo": "Plivo",
    "postmark": "Postmark",
    "prowl": "Prowl",
    "pushdeer": "PushDeer",
    "pushdeers": "PushDeer",
    "pushme": "PushMe",
    "pushplus": "Pushplus",
    "pushy": "Pushy",
    "resend": "Resend",
    "revolt": "Revolt",
    "rocket": "Rocket.Chat",
    "rockets": "Rocket.Chat",
    "ryver": "Ryver",
    "schan": "ServerChan",
    "sendgrid": "SendGrid",
    "signal": "Signal API",
    "signals": "Signal API",
    "signl4": "SIGNL4",
    "sinch": "Sinch",
    "smtp2go": "SMTP2Go",
    "sparkpost": "SparkPost",
    "spike": "Spike.sh",
    "splunk": "Splunk On-Call",
    "squadcast": "Squadcast",
    "threema": "Threema",
    "twilio": "Twilio",
    "twist": "Twist",
    "victorops": "Splunk On-Call",
    "vonage": "Vonage",
    "wecombot": "WeCom Bot",
    "webex": "Webex",
    "wxteams": "Webex",
    "xml": "XML",
    "xmls": "XML",
    "zulip": "Zulip",
}
"""Name of the service of each scheme."""

REJECTED_PARAMETERS: Final = frozenset(
    ("template", "pgp", "pgpkey", "pgppub", "pgpprv", "wkd", "attach", "attachment", "keyfile", "store", "config")
)
"""Parameters with which a service reads files of the server, or makes it fetch further addresses."""

_HOSTED: Final = frozenset(
    scheme + suffix
    for scheme in ("http", "mailto", "json", "form", "xml", "gotify", "mmost", "rocket", "hassio", "nctalk")
    for suffix in ("", "s")
)
"""Schemes whose URL has a host, rather than a secret, after `//`."""

_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]{0,31})://")
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f-\x9f]")


class DestinationError(UserError):
    """A destination is invalid or not found; the message says what to do."""


def check_url(url: str) -> str:
    """Return the scheme of a URL, in lower case. Raises DestinationError if a destination cannot use it."""
    found = _SCHEME.match(url)
    if found is None:
        raise DestinationError("a destination is a URL, such as mailtos://… or https://example.org/hook")
    if storable(url) != url:
        raise DestinationError("the URL is not text: write other bytes than UTF-8 as %FF")
    scheme = found[1].lower()
    if scheme not in SERVICES:
        raise DestinationError(f"{scheme}:// is not a service that DashFleet can use: see docs/alerting.md")
    if len(url) > URL_MAX or _CONTROL.search(url):
        raise DestinationError(f"the URL is longer than {URL_MAX} characters, or contains spaces: write them as %20")
    try:
        parts = urlsplit(url)
        names = {name.lower().lstrip("+-:") for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
        hosted = parts.hostname
    except ValueError:
        raise DestinationError("the URL cannot be read: compare it with the examples in docs/alerting.md") from None
    if rejected := sorted(names & REJECTED_PARAMETERS):
        raise DestinationError(f"the parameter {rejected[0]} is not allowed, because it reads files of the server")
    if scheme in WEBHOOK_SCHEMES and not hosted:
        raise DestinationError("the URL has no host: write https://example.org/hook")
    return scheme


def masked_url(url: str) -> str:
    """Return a URL that was checked without what may be a secret: the scheme, and host and port if it has them."""
    scheme, parts = check_url(url), urlsplit(url)
    host = (parts.hostname or "")[:150]
    if scheme not in _HOSTED or not host:
        return f"{scheme}://…"
    try:
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:  # what is not a number may be a secret
        port = ""
    return f"{scheme}://{f'[{host}]' if port and ':' in host else host}{port}/…"


def server_of(url: str) -> str:
    """Return the host that a URL that was checked connects to, as it is written; "" if the service decides that."""
    scheme, parts = check_url(url), urlsplit(url)
    if scheme not in _HOSTED:
        return ""
    server = dict(parse_qsl(parts.query)).get("smtp") if scheme in MAIL_SCHEMES else None
    return server or parts.hostname or ""
