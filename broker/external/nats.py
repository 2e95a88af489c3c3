"""Files of a NATS node: credentials and permissions of MQTT 3.1.1 clients over JetStream.

Invariants:
- The rules are those of `broker.access.policy.grants`, filter by filter, as subjects; what no line allows is denied.
- NATS supports only bcrypt records. A principal without one, or whose name is not a single word, is left out.
- Only MQTT clients may use these accounts (`allowed_connection_types`).
"""

import re
from collections.abc import Iterable

from broker.access.policy import grants
from broker.access.principals import CredentialEntry
from runtime.settings.broker import NatsSettings

ACKNOWLEDGED = "$MQTT.sub.>"
"""Subjects on which NATS delivers subscriptions of QoS 1, with names that cannot be guessed."""

REPLICAS = 3
"""Number of replicas in a cluster with at least that many nodes, of which one may be away."""

_NAME = re.compile(r"[a-z0-9._-]+")
_BCRYPT = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}")


def configuration(settings: NatsSettings) -> str:
    """Return nats.conf of one node. The users are in a separate file."""
    routes = "".join(f"\n    nats-route://{route}" for route in settings.routes)
    lines = [
        "# Written by dashfleet nats at every start. Run it with: nats-server -c nats.conf",
        f"server_name: {settings.node}",
        'listen: "127.0.0.1:-1"  # for clients of the NATS protocol, which are not used',
        f'pid_file: "{settings.directory / "nats.pid"}"',
        f'jetstream {{ store_dir: "{settings.directory / "jetstream"}" }}',
        f"max_payload: {settings.max_packet_bytes}",
        "mqtt {",
        f'  listen: "{settings.bind}:{settings.port}"',
        "  max_ack_pending: 65535",
    ]
    if settings.certificate is not None and settings.private_key is not None:
        tls = f'cert_file: "{settings.certificate}", key_file: "{settings.private_key}"'
        lines.append(f"  tls {{ {tls} }}")
    # Set explicitly, as NATS 2.9 defaults to 2, of which neither may be away.
    lines += [f"  stream_replicas: {REPLICAS if len(settings.routes) >= REPLICAS - 1 else 1}", "}"]
    if settings.cluster_listen:
        lines += [
            "cluster {",
            "  name: dashfleet",
            f'  listen: "{settings.cluster_listen}"',
            f"  routes: [{routes}\n  ]",
        ]
        lines += ["}"]
    return "\n".join([*lines, "include users.conf", ""])


def users(entries: Iterable[CredentialEntry]) -> str:
    """Return users.conf: each user name, the record of its secret, and its permissions."""
    written = "".join(_user(entry) for entry in sorted(entries, key=lambda entry: entry.principal.username))
    return f"authorization {{\n  users: [\n{written}  ]\n}}\n"


def left_out(entries: Iterable[CredentialEntry]) -> list[str]:
    """Return the user names without a record for NATS, which therefore cannot connect."""
    return sorted(entry.principal.username for entry in entries if not _is_writable(entry))


def _user(entry: CredentialEntry) -> str:
    if not _is_writable(entry):
        return ""
    granted = grants(entry.principal)
    publish = _quoted(_subject(topic) for topic in granted.publish)
    subscribe = _quoted([*(_subject(topic) for topic in granted.read), ACKNOWLEDGED])
    permissions = f"publish: {{ allow: [{publish}] }}, subscribe: {{ allow: [{subscribe}] }}"
    if not granted.publish:
        permissions = f'publish: {{ deny: [">"] }}, subscribe: {{ allow: [{subscribe}] }}'
    who = f'user: "{entry.principal.username}", password: "{entry.bcrypt}", allowed_connection_types: ["MQTT"]'
    return f"    {{ {who}, permissions: {{ {permissions} }} }}\n"


def _subject(filter_: str) -> str:
    """Convert a topic filter of the contract to a NATS subject: no level has a dot, and `#` is not used."""
    return filter_.replace("/", ".").replace("+", "*")


def _quoted(subjects: Iterable[str]) -> str:
    return ", ".join(f'"{subject}"' for subject in subjects)


def _is_writable(entry: CredentialEntry) -> bool:
    name, record = entry.principal.username, entry.bcrypt
    return _NAME.fullmatch(name) is not None and record is not None and _BCRYPT.fullmatch(record) is not None
