"""Preparation of one machine for `dashfleet up`: a state directory with databases, secrets and a first user.

Invariants:
- Everything is in one directory, which one `dashfleet up` uses at a time.
- Existing state is kept: a second `up` finds the same machine, secrets and users as the first.
- Secrets are files that only their owner can read; the first password is shown once.
- Migrating the database, and everything else that is done once, is done in a child, so that this process stays small.
- The parts run the code of this installation, regardless of the current directory.
"""

import ipaddress
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from platformdirs import user_data_path

from cli.up.first_names import ADMIN, ORG
from runtime.children.forked_process import ForkedCall
from runtime.errors import UserError
from runtime.settings.secret_files import read_secret
from runtime.state_directory import StateDirectory
from schemas.contract.topics import slug

if TYPE_CHECKING:
    from cli.up.forked_parts import ProcessSpec
    from runtime.settings.homeassistant import HomeAssistantSettings

START_ORDER = ("broker", "ingestor", "notifier", "agent", "dashboard", "homeassistant")
STOP_ORDER = ("homeassistant", "agent", "dashboard", "notifier", "ingestor", "broker")
AGENT_PAUSE_SECONDS = 4.0
"""Longer than a will is held (`ingestor.domain.presence`), so that the agent's end is recorded before it is back."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `dashfleet up`. `interval_seconds`: None for the agent's setting; `listen`: address to open the
    broker at, with TLS.
    """

    broker_port: int
    dashboard_port: int
    interval_seconds: float | None
    agent: bool
    listen: str | None = None

    database_url: str | None = None
    """URL of the fleet database; None for the one in the state directory."""
    people_url: str | None = None
    """URL of the database of users; None for the one in the state directory."""
    homeassistant: "HomeAssistantSettings | None" = None
    """Settings of the bridge to Home Assistant; None without it."""

    @property
    def server(self) -> str:
        """The broker's URL for the parts on this machine."""
        if self.listen is None:
            return f"mqtt://127.0.0.1:{self.broker_port}"
        address = ipaddress.ip_address(self.listen)
        if address.is_unspecified:
            address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
        return f"mqtts://{f'[{address}]' if address.version == 6 else address}:{self.broker_port}"


class Installation:
    """A state directory prepared for the parts."""

    def __init__(self, state: StateDirectory, options: Options, machine: str) -> None:
        self.state = state
        self.options = options
        self.machine = machine

    @classmethod
    @contextmanager
    def prepare(cls, data: Path, options: Options) -> Iterator["Installation"]:
        """Check the options, and lock the directory. Raises UserError."""
        state = StateDirectory(data)
        _require_certificate(state, options)
        with _locked(state):
            _require_free({"--broker-port": options.broker_port, "--dashboard-port": options.dashboard_port})
            installation = cls(state, options, state.machine or slug(socket.gethostname()))
            try:
                state.logs.mkdir(exist_ok=True)
                state.remember(server=options.server, machine=installation.machine)
            except OSError as error:
                raise UserError(_cannot_write(state, error)) from None
            yield installation

    def run(self, *, say: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        """Run the parts until it is time to stop. Raises UserError if one fails during startup."""
        from cli.up.forked_parts import share
        from cli.up.supervisor import Supervisor

        share()
        creating = ForkedCall(self._create, ("dashfleet", "up", "prepares"))
        specs = self._specs()
        supervisor = Supervisor(specs, stop_order=STOP_ORDER, logs=self.state.logs, say=say, stopping=stopping)
        try:
            supervisor.prepare()
            created = creating.result()
        except BaseException:
            supervisor.stop()
            raise
        supervisor.start()
        try:
            if not stopping():
                self._welcome(say, created=created)
            supervisor.run()
        finally:
            started = {spec.name for spec in specs}
            say(f"stopping: {', '.join(name for name in STOP_ORDER if name in started)}")
            supervisor.stop()

    def _create(self) -> bool:
        """Create what is missing; return whether the first user was. Raises UserError."""
        from cli.up.creation import create_first_user, create_missing

        state, options = self.state, self.options
        try:
            create_missing(
                state,
                options.database_url or state.database_url,
                machine=self.machine if options.agent else None,
                homeassistant=options.homeassistant,
            )
            return create_first_user(options.people_url or state.people_url, state.first_password)
        except OSError as error:
            raise UserError(_cannot_write(state, error)) from None

    def _specs(self) -> "list[ProcessSpec]":
        from cli.up.forked_parts import ProcessSpec

        interval = self.options.interval_seconds
        server = ["--server", self.options.server]
        given = {
            "broker": ["--port", str(self.options.broker_port), *self._listen_options()],
            "ingestor": server,
            "notifier": server,
            "agent": [*server, "--org", ORG, "--machine", self.machine],
            "dashboard": ["--port", str(self.options.dashboard_port)],
        }
        if not self.options.agent:
            del given["agent"]
        if (bridge := self.options.homeassistant) is not None:
            given["homeassistant"] = [*server, "--org", ORG, "--to", bridge.to, "--to-username", bridge.to_username]
        if interval is not None and "agent" in given:
            given["agent"] += ["--interval", str(interval)]
        command = [sys.executable, "-P", "-m", "dashfleet"]
        return [
            ProcessSpec(
                name,
                [*command, name, "--data", str(self.state.data), *given[name]],
                min_pause_seconds=AGENT_PAUSE_SECONDS if name == "agent" else 0.0,
            )
            for name in START_ORDER
            if name in given
        ]

    def _listen_options(self) -> list[str]:
        if self.options.listen is None:
            return []
        certificate, key = _certificate(self.state)
        return ["--bind", self.options.listen, "--certificate", str(certificate), "--private-key", str(key)]

    def _welcome(self, say: Callable[[str], None], *, created: bool) -> None:
        """Print the address and how to sign in. `created`: whether this start created the first user."""
        say("")
        say(f"Open http://127.0.0.1:{self.options.dashboard_port}")
        path = self.state.first_password
        if path.exists() and sys.stdout.isatty():
            say(f"Sign in as {ADMIN} with the password {read_secret(path)} (it is shown only once).")
            path.unlink()
        elif created:  # the output is a journal or a log, which keeps it
            say(f"Sign in as {ADMIN} with the password in {path}; then delete the file.")
        elif path.exists():
            say(f"Sign in as {ADMIN} with the password shown at the first start, in {path}; then delete the file.")
        else:
            say(f"Sign in as {ADMIN} with the password shown at the first start.")
        if hint := other_commands(self.state.data):
            say(hint)
        say("Press Ctrl-C to stop all parts.")


def other_commands(data: Path) -> str:
    """Return a line that says how to enter other commands; empty if `dashfleet` without an option is enough."""
    words = ["dashfleet"]
    if shutil.which("dashfleet") is None:
        installed = Path(sys.executable).with_name("dashfleet")
        words = [str(installed)] if installed.exists() else [sys.executable, "-m", "dashfleet"]
    words.append("COMMAND")
    if data != user_data_path("dashfleet", appauthor=False):
        words += ["--data", str(data)]
    return "" if words == ["dashfleet", "COMMAND"] else f"Other commands: {shlex.join(words)}"


@contextmanager
def _locked(state: StateDirectory) -> Iterator[None]:
    """Lock the state directory against another `up`."""
    lock = FileLock(state.lock, blocking=False)
    try:
        state.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire()
    except Timeout:
        raise UserError(
            f"another dashfleet up uses {state.data}: stop it first, or choose another directory with --data"
        ) from None
    except OSError as error:
        raise UserError(_cannot_write(state, error)) from None
    try:
        yield
    finally:
        lock.release()


def _require_certificate(state: StateDirectory, options: Options) -> None:
    if options.listen is None:
        return
    try:
        ipaddress.ip_address(options.listen)
    except ValueError:
        raise UserError(f"--listen must be an IP address of this machine or 0.0.0.0, not {options.listen!r}") from None
    if not all(path.exists() for path in _certificate(state)):
        raise UserError("--listen needs a certificate: run dashfleet tls NAME first, with the name machines will use")


def _certificate(state: StateDirectory) -> tuple[Path, Path]:
    """Return the certificate and key that `dashfleet tls` creates."""
    return state.tls / "server.pem", state.tls / "server.key"


def _cannot_write(state: StateDirectory, error: OSError) -> str:
    return f"cannot write in {state.data} ({error.strerror}): choose another state directory with --data"


def _require_free(ports: dict[str, int]) -> None:
    """Raise UserError that names all of these ports that are in use, with their options."""
    taken = {option: port for option, port in ports.items() if _is_taken(port)}
    if taken:
        numbers = " and ".join(f"port {port}" for port in taken.values())
        options = " ".join(f"{option} PORT" for option in taken)
        raise UserError(
            f"{numbers} {'is' if len(taken) == 1 else 'are'} in use: stop what uses it, or choose another with "
            f'{options} (make up UP="{options}")'
        )


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
