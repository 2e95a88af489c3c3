"""Files of Mosquitto: its configuration, its password file and its access rules.

Invariants:
- The rules are those of `broker.access.policy.grants`, filter by filter; everything that no line allows is denied.
- Only records of secrets are written, in files that only their owner can read.
- A row that would not be exactly one line of these files is left out, so that no name can inject rules.
- A client id is its user name (`use_username_as_clientid`), so that no client can take over the session or queue of
  another. Machines that enrol with one token at the same time therefore wait for each other.
- What waits for a client is bounded in bytes, which Mosquitto does for QoS 1 only: a message is delivered with the QoS
  of the subscription.
- After a rotation only the new secret is valid: the password file has one line per user name.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from broker.access.policy import grants
from broker.access.principals import CredentialEntry
from runtime.settings.broker import MosquittoSettings

RELOADED = "Reloading config."
"""Logged by Mosquitto when it reads its files again."""

RUNNING = re.compile(r"mosquitto version \S+ running")

KEEP_ALIVE_MAX_SECONDS = 1200
_NAME = re.compile(r"[a-z0-9._-]+")
_RECORD = re.compile(r"\$7\$[0-9]{1,6}\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+")


def configuration(settings: MosquittoSettings, passwords: Path, rules: Path) -> str:
    """Return mosquitto.conf: no anonymous clients, nothing without a rule, and limits on all queues."""
    lines = [
        "# Written by dashfleet mosquitto at every start. Add your own lines in conf.d.",
        "log_dest stderr",
        "log_timestamp false",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_type information",
        "connection_messages false",
        "sys_interval 0",
        "persistence false",
        "allow_anonymous false",
        f"password_file {passwords}",
        f"acl_file {rules}",
        f"max_packet_size {settings.max_packet_bytes}",
        f"max_keepalive {KEEP_ALIVE_MAX_SECONDS}",
        "max_inflight_messages 2048",
        f"max_inflight_bytes {16 << 20}",
        "max_queued_messages 100000",
        "upgrade_outgoing_qos true",
        f"max_queued_bytes {16 << 20}",
        "persistent_client_expiration 1d",
        *_listener(settings, settings.port),
    ]
    if settings.websocket_port is not None:
        lines += [*_listener(settings, settings.websocket_port), "protocol websockets"]
    if os.geteuid() == 0:  # by default it drops root and can no longer read these files
        lines.insert(1, "user root")
    return "\n".join([*lines, f"include_dir {settings.directory / 'conf.d'}", ""])


def _listener(settings: MosquittoSettings, port: int) -> list[str]:
    """Return a listener; each has its own limit, client ids and certificate."""
    lines = [
        f"listener {port} {settings.bind}",
        f"max_connections {settings.max_connections}",
        "use_username_as_clientid true",
    ]
    if settings.certificate is not None and settings.private_key is not None:
        lines += [f"certfile {settings.certificate}", f"keyfile {settings.private_key}", "tls_version tlsv1.2"]
    return lines


def passwords(entries: Iterable[CredentialEntry]) -> str:
    """Return the password file: a record for each user name."""
    return "".join(f"{entry.principal.username}:{entry.secret_hash}\n" for entry in _writable(entries))


def rules(entries: Iterable[CredentialEntry]) -> str:
    """Return the access rules of each user name. Starts with a denial, as an empty file would allow everything."""
    return "topic deny #\n" + "".join(_rules_of(entry) for entry in _writable(entries))


def _rules_of(entry: CredentialEntry) -> str:
    granted = grants(entry.principal)
    both = set(granted.publish) & set(granted.read)
    lines = [f"user {entry.principal.username}"]
    lines += [f"topic {'readwrite' if topic in both else 'write'} {topic}" for topic in granted.publish]
    lines += [f"topic read {topic}" for topic in granted.read if topic not in both]
    return "\n".join(lines) + "\n"


def _writable(entries: Iterable[CredentialEntry]) -> Iterable[CredentialEntry]:
    """Return the valid entries in the order of user names, so that the files are reproducible."""
    return (
        entry
        for entry in sorted(entries, key=lambda entry: entry.principal.username)
        if _NAME.fullmatch(entry.principal.username) and _RECORD.fullmatch(entry.secret_hash)
    )
