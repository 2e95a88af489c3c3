"""The machine of a run of `dashfleet conform agent`, and what the program finds in its environment.

Invariants:
- Unless the caller names a machine, the run has one of its own, which is removed at the end.
- A secret is in the environment or in a file of mode 0600, never among the arguments.
"""

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cli.contract.conform_credentials import wait_until_known
from cli.contract.temporary_principal import unique_name
from cli.options import CLOCK

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from runtime.settings.client import ActSettings

NAME = "conform"
KNOWN_SECONDS = 20.0
SIBLINGS = ("", "-wal", "-shm", "-journal")
"""Suffixes of the files of an SQLite database."""


@dataclass(frozen=True, slots=True)
class MachineOfRun:
    """The machine of a run. `environment`: variables for the program; `journal`: the file with its journal."""

    name: str
    environment: dict[str, str]
    journal: Path

    def lose_journal(self) -> bool:
        """Delete the journal; return whether there was one."""
        written = self.journal.is_file() and self.journal.stat().st_size > 0
        for suffix in SIBLINGS:
            self.journal.with_name(self.journal.name + suffix).unlink(missing_ok=True)
        return written


@contextmanager
def machine_of_run(
    engine: "Engine", settings: "ActSettings", machine: str | None, journal: Path | None
) -> Iterator[MachineOfRun]:
    """Prepare the files of an agent, and a machine unless one is named.

    A machine that is named has its own secret, and what the caller has set in the environment stays.
    """
    with tempfile.TemporaryDirectory(prefix="dashfleet-conform-") as directory:
        name = machine or unique_name(NAME)
        given = _environment(engine, settings, name, Path(directory))
        if machine is not None:
            yield MachineOfRun(name, {**given, **os.environ}, journal or Path(given["DASHFLEET_STATE"]))
            return
        with _temporary_machine(engine, settings, name) as secret:
            given["DASHFLEET_PASSWORD"] = secret
            yield MachineOfRun(name, given, journal or Path(given["DASHFLEET_STATE"]))


def _environment(engine: "Engine", settings: "ActSettings", name: str, directory: Path) -> dict[str, str]:
    """Write the trusted keys, and an empty journal as a new machine has it; return the variables."""
    from ingestor.admin.key_changes import list_keys

    keys, state = directory / "keys.json", directory / "state"
    trusted = [key for key in list_keys(engine, settings.org, now=CLOCK.now) if key["revoked_at"] is None]
    keys.write_text(json.dumps(trusted))
    state.touch(0o600)
    found = {
        "DASHFLEET_SERVER": settings.server,
        "DASHFLEET_ORG": settings.org,
        "DASHFLEET_MACHINE": name,
        "DASHFLEET_USERNAME": f"{settings.org}.{name}",
        "DASHFLEET_KEYS": str(keys),
        "DASHFLEET_STATE": str(state),
    }
    return found if settings.ca_file is None else {**found, "DASHFLEET_CA_FILE": str(settings.ca_file)}


@contextmanager
def _temporary_machine(engine: "Engine", settings: "ActSettings", name: str) -> Iterator[str]:
    """Add a machine that the broker knows; yield its secret. It is removed at the end."""
    from broker.access.policy import Principal, Role
    from broker.client.sockets import tls_context
    from broker.conformance.broker_client import BrokerClient, TcpBrokerClient
    from broker.conformance.broker_run import Credential
    from ingestor.admin.access import add_principal, remove_principal

    principal, secret = Principal(Role.MACHINE, settings.org, name), secrets.token_hex(32)
    tls = tls_context(settings.ca_file) if settings.address.tls else None
    connecting: Callable[[], BrokerClient] = partial(TcpBrokerClient, settings.address, tls, CLOCK)
    add_principal(engine, principal, secret, now=CLOCK.now)
    try:
        wait_until_known(connecting, Credential(principal.username, secret), KNOWN_SECONDS)
        yield secret
    finally:
        remove_principal(engine, principal)
