"""The agent's process: `python -m agent`, with its settings resolved by `dashfleet agent` in the environment.

The command line and the settings' sources cost more memory than the agent itself, so `dashfleet agent` reads them and
then becomes this process (`runtime.process.become`).
"""

import secrets
import sys
from functools import partial
from pathlib import Path

import agent.actions
import agent.collectors
from agent import action
from agent.agent import Agent
from agent.collection.detail_runner import DetailRunner
from agent.collection.facts_publisher import FactsPublisher
from agent.collection.live_readings import LiveReadings
from agent.collection.sample_runner import CollectorRunner
from agent.collector import discover, discover_details
from agent.configuration import Configuration
from agent.connection_record import ConnectionRecord
from agent.host.calls.program import end_programs
from agent.inventory import boot_id
from agent.orders.executor import Executor
from agent.orders.journal import JOURNAL_FILE, Journal
from agent.orders.trusted_keys import KEYS_FILE, TrustedKeys
from agent.outbox.memory_file import hot_path
from agent.outbox.outbox import Outbox
from agent.relocation.move_record import followed, receiver_of, settle
from agent.session_counter import SessionCounter
from agent.transfer.file_transfers import FileTransfers
from agent.updates.trial import VersionTrial, become
from agent.updates.update_record import read_update, settle_update
from broker.client.mqtt import Mqtt
from runtime.clock import Clock, SystemClock
from runtime.errors import SettingsError, UserError
from runtime.logging_setup import start_logging
from runtime.process import StopSignal, inherited_settings, notify_ready, re_exec, release_memory
from runtime.settings.agent import AgentSettings


def run(settings: AgentSettings) -> int:
    """Run until a signal stops the process. Return the exit code: 0, or 2 with a message when it cannot start."""
    stop = StopSignal()
    try:
        start_logging(settings)
        settle(settings.data, settings.machine, SystemClock())
        settings = followed(settings)
        settings.secret()  # first: without one, no outbox is created
        settle_update(settings.data)
        running = build(settings, outbox := open_outbox(settings))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    release_memory()
    notify_ready(f"agent of {settings.org}/{settings.machine}, every {settings.interval_seconds:g} s")
    record = ConnectionRecord(settings.data, SystemClock(), first_seq=outbox.next_seq)
    while not stop.received and not running.restarting:
        running.step()
        record.update(connected=running.connected, acknowledged_seq=outbox.acknowledged_seq)
    running.stop()
    end_programs()
    record.update(connected=False, acknowledged_seq=outbox.acknowledged_seq)
    if running.restarting and not stop.received:
        return _start_again(settings, stop)
    return 0


def _start_again(settings: AgentSettings, stop: StopSignal) -> int:
    """Become a new process: of this version, or of the one that an update has built, if it proves itself."""
    update = read_update(settings.data)
    if update is not None and update.state == "trying" and not update.is_mine:
        trial = VersionTrial(settings.data, update, stopping=lambda: stop.received)
        if trial.run():
            become(trial.command)
    if not stop.received:
        re_exec()
    return 0


def open_outbox(settings: AgentSettings) -> Outbox:
    """Open the outbox of this machine's agent. Raises SettingsError."""
    try:
        (data := settings.data / "agent").mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(f"cannot create {settings.data}: {error.strerror}; choose another with --data") from None
    return Outbox(
        data / "outbox.db",
        hot_path(data),
        max_bytes=settings.outbox_max_bytes,
        boot=f"{boot_id()} {data.resolve()}",  # a copy of the directory is another outbox, too
        clock=SystemClock(),
        receiver=receiver_of(settings.data),
    )


def build(settings: AgentSettings, outbox: Outbox | None = None) -> Agent:
    """Return the agent of this machine; without an outbox, with its own. Raises SettingsError."""
    password = settings.secret()
    outbox = outbox or open_outbox(settings)
    data, clock = settings.data / "agent", SystemClock()
    return Agent(
        settings,
        open_transport=partial(
            Mqtt,
            settings.address,
            username=f"{settings.org}.{settings.machine}",
            password=password,
            keep_alive_seconds=settings.keep_alive_seconds,
            ca_file=settings.ca_file,
        ),
        outbox=outbox,
        runner=_runner(settings),
        sessions=SessionCounter(data / "session", clock),
        clock=clock,
        executor=_executor(settings, data, clock),
        details=DetailRunner(
            discover_details(agent.collectors, settings), settings, clock, FactsPublisher(data / "facts.json", clock)
        ),
        live=LiveReadings(partial(_runner, settings), clock),
    )


def _runner(settings: AgentSettings) -> CollectorRunner:
    found = discover(agent.collectors, settings)
    return CollectorRunner(found, timeout_seconds=settings.collector_timeout_seconds)


def _executor(settings: AgentSettings, data: Path, clock: Clock) -> Executor:
    actions = action.discover(agent.actions)
    if unknown := set(settings.allowed_actions) - set(actions):
        raise SettingsError(
            f"allowed_actions names {min(unknown)}, which is no action: there are {', '.join(sorted(actions))}"
        )
    return Executor(
        settings,
        actions=actions,
        keys=TrustedKeys(data / KEYS_FILE, settings.org),
        journal=Journal(data / JOURNAL_FILE, clock),
        configuration=Configuration(data / "configuration.json", settings, clock),
        transfers=FileTransfers(data / "transfer", clock, bytes_per_second=settings.transfer_bytes_per_second),
        process=secrets.token_hex(8),
        boot=boot_id(),
        clock=clock,
    )


if __name__ == "__main__":
    sys.exit(run(inherited_settings(AgentSettings)))
