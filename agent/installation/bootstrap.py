"""The first step of an installation, run from the agent's wheel by `install.sh`: the environment.

    PYTHONPATH=dashfleet_agent-….whl python3 -m agent.installation.bootstrap --from https://… [options of agent install]

Standard library only. The rest is done by `dashfleet agent install`, with the new environment's own program.

Invariants:
- If a later step fails, the environment is removed, unless it was there before.
- What is typed is read from the terminal: the standard input of this process is the install script.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.installation import environment
from agent.installation.record import PREFIX
from agent.installation.source import BundleSource
from runtime.errors import UserError

NOT_CONNECTED = 3
"""Exit code of `agent install` if the agent is installed, but does not connect."""


def main(argv: Sequence[str]) -> int:
    """Build the environment and continue with `dashfleet agent install`. Return its exit code."""
    parser = argparse.ArgumentParser(prog="install", allow_abbrev=False)
    parser.add_argument("--from", dest="place", required=True)
    parser.add_argument("--manifest-sha256")
    parser.add_argument("--prefix", type=Path, default=PREFIX)
    parser.add_argument("--insecure", action="store_true")
    given, others = parser.parse_known_args(argv)
    undo_when_ended()
    try:
        source = BundleSource(given.place, insecure=given.insecure)
        manifest = source.manifest(given.manifest_sha256)
        place = given.prefix / environment.ENVIRONMENTS / manifest.environment
        built = not environment.is_complete(place)
        if built:
            sys.stdout.write(f"Installing the DashFleet agent {manifest.version} into {place} …\n")
            sys.stdout.flush()
            environment.build(place, manifest, source.fetch)
    except UserError as error:
        sys.stderr.write(f"dashfleet: {error}\n")
        return 2
    options = ["--from", given.place, "--prefix", str(given.prefix), *(["--insecure"] if given.insecure else [])]
    code = 1
    try:
        code = _continue([str(environment.program(place)), "agent", "install", *options, *others])
    finally:
        if built and code not in (0, NOT_CONNECTED):
            environment.remove(place)
    return code


def _continue(argv: list[str]) -> int:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it names the wheel
    try:
        terminal = Path("/dev/tty").open("rb")  # noqa: SIM115 - the next block closes it
    except OSError:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, check=False, env=own).returncode
    with terminal:
        return subprocess.run(argv, stdin=terminal, check=False, env=own).returncode


def undo_when_ended() -> None:
    """Have the signals that end a process raise SystemExit, so that what was begun is undone."""
    for name in ("SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):
            signal.signal(number, lambda number, _frame: sys.exit(128 + number))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
