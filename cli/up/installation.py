"""What `dashfleet up` needs on one machine: a state directory with databases, secrets and a first person to sign in.

Invariants:
- Everything is in one directory, and one `dashfleet up` uses it at a time.
- What is there stays: a second `up` finds the same machine, secrets and people as the first.
- Secrets are files that only their owner can read; the first password is shown once and stored as a hash.
- The parts run this installation's code, whatever lies in the current directory.
"""

import ipaddress
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from runtime.errors import UserError
from runtime.settings.secret_files import read_secret, write_secret
from runtime.state_directory import StateDirectory
from schemas.contract.topics import slug

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from cli.up.supervisor import Part

ORG = "home"
ADMIN = "admin"
START_ORDER = ("broker", "ingestor", "agent", "dashboard")
AGENT_PAUSE_SECONDS = 4.0
"""Longer than a will is held (`ingestor.domain.presence`): that the agent died is recorded before it is back."""

STOP_ORDER = ("agent", "dashboard", "ingestor", "broker")


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked of `dashfleet up`. `interval_seconds`: None for the agent's own setting; `listen`: an address to
    open the broker at, with TLS.
    """

    broker_port: int
    dashboard_port: int
    interval_seconds: float | None
    agent: bool
    listen: str | None = None

    @property
    def server(self) -> str:
        """Where the parts on this machine find the broker."""
        if self.listen is None:
            return f"mqtt://127.0.0.1:{self.broker_port}"
        address = ipaddress.ip_address(self.listen)
        if address.is_unspecified:
            address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
        return f"mqtts://{f'[{address}]' if address.version == 6 else address}:{self.broker_port}"


class Installation:
    """A state directory that is ready for the parts to run in."""

    def __init__(self, layout: StateDirectory, options: Options, machine: str) -> None:
        self.layout = layout
        self.options = options
        self.machine = machine

    @classmethod
    @contextmanager
    def prepare(cls, data: Path, options: Options) -> Iterator["Installation"]:
        """Check and create what is needed, and hold the directory. Raises UserError."""
        layout = StateDirectory(data)
        _require_openable(layout, options)
        with _held(layout):
            for port, option in ((options.broker_port, "--broker-port"), (options.dashboard_port, "--dashboard-port")):
                _require_free(port, option)
            installation = cls(layout, options, layout.machine or slug(socket.gethostname()))
            try:
                installation._create()
            except OSError as error:
                raise UserError(_cannot_write(layout, error)) from None
            yield installation

    def run(self, *, say: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        """Run the parts until it is time to stop. Raises UserError when one cannot start."""
        from cli.up.supervisor import Supervisor

        supervisor = Supervisor(self._parts(), stop_order=STOP_ORDER, logs=self.layout.logs, say=say, stopping=stopping)
        supervisor.start()
        try:
            if not stopping():
                self._welcome(say)
            supervisor.run()
        finally:
            say("stopping: agent, dashboard, ingestor, broker")
            supervisor.stop()

    def _create(self) -> None:
        self.layout.logs.mkdir(exist_ok=True)
        machine = self.machine if self.options.agent else None
        furnish(self.layout, self.layout.database_url, machine=machine)
        self.layout.remember(server=self.options.server, machine=self.machine)

    def _parts(self) -> "list[Part]":
        from cli.up.supervisor import Part

        interval = self.options.interval_seconds
        server = ["--server", self.layout.server]
        given = {
            "broker": ["--port", str(self.options.broker_port), *self._opening()],
            "ingestor": server,
            "agent": [*server, "--org", ORG, "--machine", self.machine],
            "dashboard": ["--port", str(self.options.dashboard_port)],
        }
        if interval is not None:
            given["agent"] += ["--interval", str(interval)]
        command = [sys.executable, "-P", "-m", "dashfleet"]
        names = [name for name in START_ORDER if name != "agent" or self.options.agent]
        return [
            Part(
                name,
                [*command, name, "--data", str(self.layout.data), *given[name]],
                least_pause_seconds=AGENT_PAUSE_SECONDS if name == "agent" else 0.0,
            )
            for name in names
        ]

    def _opening(self) -> list[str]:
        """What opens the broker to other machines."""
        if self.options.listen is None:
            return []
        certificate, key = _certificate(self.layout)
        return ["--bind", self.options.listen, "--certificate", str(certificate), "--private-key", str(key)]

    def _welcome(self, say: Callable[[str], None]) -> None:
        say("")
        say(f"Open http://127.0.0.1:{self.options.dashboard_port}")
        password = self._first_password()
        if password is None:
            say(f"Sign in as {ADMIN} with the password that the first start showed.")
        else:
            say(f"Sign in as {ADMIN} with the password {password} (it is shown only this once).")
        say("Ctrl-C stops everything.")

    def _first_password(self) -> str | None:
        """Make the first person and return the password, once there is somebody to read it."""
        from dashboard.auth.auth_database import open_auth_database
        from dashboard.auth.passwords import new_password
        from dashboard.auth.users import UserRole, add_user, has_users

        people = open_auth_database(self.layout.people_url)
        try:
            if has_users(people):
                return None
            password = new_password()
            add_user(people, ADMIN, password, role=UserRole.ADMIN, org=ORG, by="dashfleet up")
            return password
        finally:
            people.dispose()


def furnish(layout: StateDirectory, database_url: str, *, machine: str | None, ingestor: str | None = None) -> None:
    """Create what is missing for the parts to run: tables, the organisation, a secret for each, and the first key.

    `ingestor`: the name of one more than the first.
    """
    from broker.access.credentials import new_secret
    from broker.access.policy import Principal, Role
    from broker.client.request_client import DASHBOARD, OPERATOR_NAME
    from broker.client.topic_tail import READER_NAME
    from ingestor.admin.access import add_org, add_principal
    from ingestor.run import PRINCIPAL
    from schemas.database.engine import open_engine, upgrade

    engine = open_engine(database_url)
    upgrade(engine)
    add_org(engine, ORG, now=_now)
    principals = {
        PRINCIPAL.name: PRINCIPAL,
        **({} if ingestor is None else {ingestor: replace(PRINCIPAL, name=ingestor)}),
        "dashboard": DASHBOARD,
        "watch": Principal(Role.READER, ORG, READER_NAME),
        "act": Principal(Role.OPERATOR, ORG, OPERATOR_NAME),
    }
    if machine is not None:
        principals["agent"] = Principal(Role.MACHINE, ORG, machine)
    for part, principal in principals.items():
        path = layout.secret(part)
        if not path.exists():
            write_secret(path, new_secret())
        add_principal(engine, principal, read_secret(path), now=_now, revive=False)
    _create_key(engine, layout, agent=machine is not None)
    engine.dispose()


def _create_key(engine: "Engine", layout: StateDirectory, *, agent: bool) -> None:
    """Make the first key that signs orders, once, and let the agent here obey what is in force."""
    from agent.orders.trusted_keys import KEYS_FILE, write_keys
    from ingestor.admin.key_changes import add_key, has_keys, list_keys
    from schemas.contract.enrolment import EnrolledKey
    from schemas.contract.signing import new_key

    kept = layout.signing / ORG
    if not has_keys(engine, ORG):
        if not kept.exists():
            write_secret(kept, new_key())
        add_key(engine, ORG, read_secret(kept), signer=None, name="first", expires_at=None, now=_now)
    held = layout.data / "agent" / KEYS_FILE
    if agent and not held.exists():
        known = [key for key in list_keys(engine, ORG, now=_now) if key["in_force"]]
        fields = ("public_key", "name", "expires_at")
        write_keys(held, ORG, [EnrolledKey(**{name: key[name] for name in fields}) for key in known])


@contextmanager
def _held(layout: StateDirectory) -> Iterator[None]:
    """Hold the state directory against another `up`."""
    lock = FileLock(layout.lock, blocking=False)
    try:
        layout.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire()
    except Timeout:
        raise UserError(
            f"another dashfleet up uses {layout.data}: stop it first, or choose another directory with --data"
        ) from None
    except OSError as error:
        raise UserError(_cannot_write(layout, error)) from None
    try:
        yield
    finally:
        lock.release()


def _require_openable(layout: StateDirectory, options: Options) -> None:
    if options.listen is None:
        return
    try:
        ipaddress.ip_address(options.listen)
    except ValueError:
        raise UserError(f"--listen must be an IP address of this machine or 0.0.0.0, not {options.listen!r}") from None
    if not all(path.exists() for path in _certificate(layout)):
        raise UserError("--listen needs a certificate: run dashfleet tls NAME first, with the name machines will use")


def _certificate(layout: StateDirectory) -> tuple[Path, Path]:
    """The broker's certificate and key, as `dashfleet tls` makes them."""
    return layout.tls / "server.pem", layout.tls / "server.key"


def _cannot_write(layout: StateDirectory, error: OSError) -> str:
    return f"cannot write in {layout.data} ({error.strerror}): choose another state directory with --data"


def _require_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise UserError(f"port {port} is taken: stop what uses it, or choose another with {option}") from None


def _now() -> int:
    return time.time_ns() // 1_000_000
