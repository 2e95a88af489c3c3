"""Installing the agent: user, state directory, enrolment, service. Repeating it repairs what is missing.

Invariants:
- Each step compares first: what is right already is not touched, and the service is restarted only after a change.
- What a failed installation created is removed again, in reverse order; what was there before stays.
- The token is sent only to a broker whose certificate is issued by the CA with the pinned fingerprint.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.connection_record import ConnectionState, read_connection
from agent.enrolment import enrolled_as
from agent.installation import accounts, environment
from agent.installation.record import COMMAND, InstallationRecord, read_record
from agent.installation.source import BundleSource
from agent.outbox.memory_file import memory_directory
from agent.service import CURRENT, Service
from runtime import files
from runtime.bundle.fingerprint import fingerprint
from runtime.errors import UserError
from runtime.state_directory import StateDirectory

ONLINE_SECONDS = 60.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class InstallOptions:
    """Options of an installation. `ca_sha256`: fingerprint of the broker's CA certificate, in hexadecimal digits.

    `updates`: whether signed orders may update the agent.
    """

    prefix: Path
    data: Path
    server: str = ""
    machine: str = ""
    place: str = ""
    ca_file: Path | None = None
    ca_sha256: str = ""
    insecure: bool = False
    updates: bool = True


class Installer:
    """An installation. `token` asks for the enrolment token; `say` prints a line; `service`: None for none."""

    def __init__(
        self, options: InstallOptions, service: Service | None, *, token: Callable[[], str], say: Callable[[str], None]
    ) -> None:
        self._options = options
        self._service = service
        self._token = token
        self._say = say
        self._record = read_record(options.prefix) or InstallationRecord(str(options.prefix), str(options.data))
        self._undo = ExitStack()
        self._changed = False

    def run(self) -> bool:
        """Install, and wait until the agent is connected; return False if it is installed but does not connect.

        Raises UserError; then nothing of this run is left.
        """
        started_at = time.time()
        try:
            with self._undo:
                self._install()
                self._undo.pop_all()
        except OSError as error:
            raise UserError(environment.cannot_write(Path(error.filename or self._options.prefix), error)) from None
        return self._report(started_at)

    def _install(self) -> None:
        if not os.access(self._options.prefix.parent, os.W_OK):
            raise UserError(f"cannot write in {self._options.prefix.parent}: run this as root, with sudo")
        if Path(self._record.data) != self._options.data:
            raise UserError(
                f"this machine has an installation with its state in {self._record.data}: uninstall it first"
            )
        self._create_user()
        self._create_directory(self._options.data)
        accounts.require_usable(Path(sys.executable), self._options.data)
        self._enrol()
        program = self._provide_program()
        self._provide_service(program)
        self._record.source = self._options.place or self._record.source
        self._undo.callback((self._options.prefix / "installation.json").unlink, missing_ok=True)
        self._record.write()

    def _create_user(self) -> None:
        if accounts.has_user() or os.name == "nt":
            return
        accounts.create_user(self._options.data)
        self._undo.callback(accounts.remove_user)
        self._record.created_user = True

    def _create_directory(self, path: Path) -> None:
        """Create the state directory. It is removed with everything in it if the installation fails."""
        if not path.exists():
            path.mkdir(parents=True, mode=0o700)
            self._undo.callback(_remove_state, path)
        accounts.give(path)

    def _enrol(self) -> None:
        """Enrol the machine as the agent's user, unless it is enrolled."""
        known = enrolled_as(self._options.data)
        if known is not None:
            self._require_same_server(known)
            return
        if not self._options.server:
            raise UserError("--server is missing: copy the whole command from the dashboard")
        authority = self._authority()
        words = ["--data", str(self._options.data), "--server", self._options.server, "--token-file", "-"]
        words += ["--ca-file", str(authority)] if authority else []
        words += ["--machine", self._options.machine] if self._options.machine else []
        words += ["--insecure"] if self._options.insecure else []
        argv = [sys.executable, "-P", "-m", "dashfleet", "agent", "enrol", *words]
        done = accounts.run_as_user(argv, typed=f"{self._token()}\n", data=self._options.data)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it failed without a reason"])[-1]
            raise UserError(reason.removeprefix("dashfleet: "))
        self._say(f"Enrolled as {enrolled_as(self._options.data)}.")

    def _require_same_server(self, known: str) -> None:
        enrolled = StateDirectory(self._options.data).enrolled.get("server", "")
        if self._options.server and enrolled and enrolled != self._options.server:
            raise UserError(
                f"this machine is enrolled as {known} at {enrolled}, not at {self._options.server}: "
                "uninstall it first, with --uninstall"
            )

    def _authority(self) -> Path | None:
        """Return the file of the CA certificate, verified; None for the system's CAs. Raises UserError."""
        options = self._options
        if options.ca_file is not None:
            content = options.ca_file.read_bytes()
        elif options.ca_sha256 and options.place:
            content = BundleSource(options.place, insecure=options.insecure).authority()
        else:
            return None
        found = fingerprint(content)
        if options.ca_sha256 and found != options.ca_sha256.replace(":", "").lower():
            raise UserError(
                "the CA certificate does not have the fingerprint of this command, so the token was not sent: "
                "copy the command from the dashboard again, and if it still differs, somebody is in between"
            )
        path = self._options.data / "agent" / "ca.pem"
        path.parent.mkdir(exist_ok=True, mode=0o700)
        files.replace(path, content.decode())
        accounts.give(self._options.data)
        return path

    def _provide_program(self) -> Path:
        """Return the program of the service: of the environment in `prefix`, or of the one that runs here."""
        here, prefix = Path(sys.prefix), self._options.prefix
        if here.parent != prefix / environment.ENVIRONMENTS:
            return environment.program(here)
        before = environment.current(prefix)
        if before != here:
            environment.switch(prefix, here)
            self._changed = True
            restore = partial(environment.switch, prefix, before) if before else (prefix / CURRENT).unlink
            self._undo.callback(restore)
        self._permit_updates(prefix)
        self._provide_command(here)
        return environment.program(prefix / CURRENT)

    def _permit_updates(self, prefix: Path) -> None:
        """Let the agent's user add environments and choose the one that runs, if updates are allowed."""
        for directory in (prefix, prefix / environment.ENVIRONMENTS):
            accounts.share(directory, group=self._options.updates)
        if self._options.updates:
            accounts.give_link(prefix / CURRENT)

    def _provide_command(self, here: Path) -> None:
        """Link the command to this environment, not to the current one: root runs nothing that the user can change."""
        program = environment.program(here)
        own = str(COMMAND) in self._record.created
        if os.name == "nt" or not COMMAND.parent.is_dir() or (COMMAND.exists() and not own):
            return
        if COMMAND.is_symlink() and COMMAND.readlink() == program:
            return
        COMMAND.unlink(missing_ok=True)
        COMMAND.symlink_to(program)
        if not own:
            self._undo.callback(COMMAND.unlink, missing_ok=True)
            self._record.created.append(str(COMMAND))

    def _provide_service(self, program: Path) -> None:
        if self._service is None:
            return
        for path, content in self._service.files(program, self._options.data).items():
            self._provide_file(path, content)
        self._record.service = self._service.title
        if self._changed or not self._service.is_active():
            self._undo.callback(self._service.remove)
            self._say(f"Starting the agent with {self._service.title} …")
            self._service.start()

    def _provide_file(self, path: Path, content: str) -> None:
        """Write a file outside of `prefix` if it has another content."""
        with suppress(FileNotFoundError):
            if path.read_text() == content:
                return
        if not path.exists():
            self._undo.callback(path.unlink, missing_ok=True)
            self._record.created.append(str(path))
        files.replace(path, content)
        path.chmod(0o644)
        self._changed = True

    def _report(self, started_at: float) -> bool:
        """Wait until the agent is connected and print where the machine appears."""
        data, options = self._options.data, self._options
        known = enrolled_as(data) or ""
        machine = known.partition("/")[2]
        where = f"{options.place}/machine?id={machine}" if options.place.startswith("http") else "the dashboard"
        if self._service is None or not self._service.is_active():
            program = environment.program(Path(sys.prefix))
            how = (
                f"start it with {program} agent --data {data}"
                if self._service is None
                else "it starts with the next start of this system"
            )
            self._say(f"Installed {known}. No service manager runs here: {how}. The machine then appears in {where}")
            return True
        deadline = time.monotonic() + ONLINE_SECONDS
        while not _is_online(read_connection(data)):
            if time.monotonic() > deadline:
                self._say(
                    f"The agent of {known} is installed and started, but not connected after {ONLINE_SECONDS:g} s: "
                    f"dashfleet agent doctor --data {data} says why"
                )
                return False
            time.sleep(_POLL_SECONDS)
        self._say(f"{known} is online after {time.time() - started_at:.0f} s: {where}")
        return True


def _is_online(state: ConnectionState | None) -> bool:
    return state is not None and state.connected and state.acknowledged and state.is_running


def _remove_state(data: Path) -> None:
    """Remove a new state directory, unless the server may know the machine: running again then needs no new token."""
    if not (data / "agent" / "enrolling.json").exists() and enrolled_as(data) is None:
        shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(memory_directory(data / "agent"), ignore_errors=True)
