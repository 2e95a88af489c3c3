"""The parts' processes at the first start: copies of this process, which share the modules that several of them need.

A Python process of a part takes 25 to 85 MiB, most of it modules. As copies of one process that has imported them, the
parts share what they do not change, and import it once. They are made before the first one starts, while this process
has no other thread; each then waits until it is its turn. The dashboard imports its own 25 MiB after the fork: nobody
would share them, and what it changes would be there twice.

Invariants:
- What is imported here starts no thread, opens no file and draws no random number.
- A part does what its command line does in a program of its own. This process reads the settings, since reading them
  would change, and so copy, several MiB of what is shared; the garbage collector leaves it alone for the same reason.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import dashfleet
from cli.up.part_start import captured
from runtime.children.forked_process import ForkedProcess, can_fork
from runtime.children.shared_memory import arrange_for_forks
from runtime.plugins import preload
from runtime.process import become_command

MODULES = {
    "broker": "broker.embedded.server",
    "ingestor": "ingestor.run",
    "notifier": "notifier.run",
    "agent": "agent.__main__",
    "dashboard": "dashboard.server.app",
    "homeassistant": "bridges.homeassistant.run",
}
"""The module that a part's command imports."""

ALONE = ("dashboard", "homeassistant")
"""Parts whose modules are mostly theirs alone: they import them after the fork."""

PLUG_INS = ("agent.actions", "agent.collectors")
"""Packages of which a part imports all modules when it starts."""

ALSO = ("pydantic.dataclasses", "schemas.database.queries.heartbeat", "sqlalchemy.dialects.sqlite")
"""Modules that parts import only once they run."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A part to run. `min_pause_seconds`: minimum time before a restart."""

    name: str
    argv: Sequence[str]
    min_pause_seconds: float = 0.0


def share() -> None:
    """Import what several parts need."""
    if not can_fork():
        return
    _import(*(module for part, module in MODULES.items() if part not in ALONE), *ALSO, *PLUG_INS)
    for package in PLUG_INS:
        if package in sys.modules:
            preload(sys.modules[package])


def prepare(specs: Sequence[ProcessSpec], environment: Mapping[str, str]) -> dict[str, ForkedProcess]:
    """Return a process for each part, which waits for `begin`; none where a process cannot be forked.

    Raises OSError, and UserError if a setting is wrong.
    """
    if not can_fork():
        return {}
    commands = {spec.name: _command(spec) for spec in specs}
    arrange_for_forks()
    return {
        spec.name: ForkedProcess(partial(_run, spec, commands[spec.name]), ("dashfleet", spec.name), environment)
        for spec in specs
    }


def begin(prepared: ForkedProcess) -> None:
    """Let a part begin."""
    with suppress(BrokenPipeError):  # it has ended, which its supervisor finds out
        if prepared.stdin is not None:
            prepared.stdin.write("\n")
            prepared.stdin.flush()


def _command(spec: ProcessSpec) -> Callable[[], None]:
    """Return what the part's command line does once it has read its settings."""
    words = spec.argv[spec.argv.index(spec.name) :]
    with captured() as commands:
        dashfleet.command_line(spec.name).main(args=list(words), standalone_mode=False)
    return commands[0]


def _run(spec: ProcessSpec, command: Callable[[], None]) -> None:
    become_command(spec.argv)
    _import(MODULES[spec.name])  # while the parts before it start
    if os.read(0, 1):  # nothing: the supervisor has ended
        dashfleet.run(command)


def _import(*modules: str) -> None:
    for module in modules:
        with suppress(ModuleNotFoundError):  # the part's command says what is to be installed
            import_module(module)
