"""A machine that is uninstalled asks its server to retire it: once, by itself only, and in bounded time."""

from collections.abc import Callable
from pathlib import Path

import pytest
from clocks import Clock
from ingestion import Bench
from sqlalchemy import Engine, select

from agent.installation import uninstaller
from agent.installation.record import InstallationRecord
from agent.installation.retirement import CONFIRM_SECONDS, CONNECT_SECONDS, Retirement
from agent.service import Service
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Disconnected, Event, Message, Transport
from ingestor.admin.access import reinstate
from runtime.errors import UserError
from runtime.settings.agent import AgentSettings
from runtime.settings.secret_files import write_secret
from runtime.state_directory import StateDirectory
from schemas.contract import topics
from schemas.contract.messages import Status
from schemas.database import tables
from schemas.database.queries.machines import list_machines

STATUS = topics.STATUS.at(org="home", machine="attic")


def retirement(directory: Path, clock: Clock, broker: MemoryBroker, meanwhile: Callable[[], None]) -> Retirement:
    """Return a retirement; while it waits, `meanwhile` does what the server does."""

    def waits(seconds: float) -> None:
        clock.advance(seconds)
        meanwhile()

    def opened(subscriptions: list[tuple[str, int]]) -> Transport:
        return MemoryTransport(broker, client_id="home.attic", subscriptions=subscriptions, pass_time=waits)

    settings = AgentSettings(data=directory, machine="attic", org="home", server="mqtts://fleet.example.org")
    return Retirement(settings, opened, clock)


def retained(broker: MemoryBroker) -> list[bytes]:
    reader = MemoryTransport(broker, client_id="reader", subscriptions=[(STATUS, 1)], pass_time=lambda _: None)
    found = [event.payload for event in reader.receive(10, 0) if isinstance(event, Message)]
    reader.close()
    return found


def is_revoked(fleet: Engine) -> bool:
    revoked = select(tables.principal.c.revoked_at).where(tables.principal.c.username == "home.attic")
    with fleet.connect() as connection:
        return connection.scalar(revoked) is not None


def presence(fleet: Engine) -> str:
    return next(str(row["presence"]) for row in list_machines(fleet) if row["org"] == "home")


def test_the_server_revokes_the_machine_records_who_asked_and_keeps_no_message(
    bench: Bench, fleet: Engine, clock: Clock, tmp_path: Path
) -> None:
    assert retirement(tmp_path, clock, bench.broker, lambda: bench.step(0.5)).run()
    bench.step(1, steps=2)
    assert is_revoked(fleet)
    assert presence(fleet) == "retired"
    assert retained(bench.broker) == []
    with fleet.connect() as connection:
        (request,) = connection.execute(select(tables.request)).mappings()
    assert (request["kind"], request["principal"], request["state"]) == ("retire-machine", "home.attic", "accepted")
    assert request["detail"] == "attic"  # as of an operator's request: the timeline of the machine finds it


def test_a_machine_that_was_reinstated_is_not_retired_by_the_message_of_before(
    bench: Bench, fleet: Engine, clock: Clock, tmp_path: Path
) -> None:
    kept: list[Message] = []
    listener = MemoryTransport(bench.broker, client_id="b", subscriptions=[(STATUS, 1)], pass_time=lambda _: None)
    listener.receive(10, 0)
    assert retirement(tmp_path, clock, bench.broker, lambda: bench.step(0.5)).run()
    kept += [event for event in listener.receive(10, 0) if isinstance(event, Message) and event.payload]
    with fleet.begin() as connection:
        reinstate(connection, "home.attic")
    bench.step(1, steps=3)
    bench.publish(Message(STATUS, kept[-1].payload, 1, retain=True))
    bench.step(1, steps=3)
    assert not is_revoked(fleet)


def test_a_birth_or_a_will_that_says_it_retires_nothing(bench: Bench, fleet: Engine, clock: Clock) -> None:
    status = Status(state="online", session=clock.now(), at=clock.now(), retiring=True)
    bench.publish(Message(STATUS, status.encode(), 1, retain=True))
    bench.step(1, steps=3)
    assert not is_revoked(fleet)
    assert presence(fleet) == "online"


def test_a_session_that_the_server_knows_to_be_higher_is_exceeded(
    bench: Bench, fleet: Engine, clock: Clock, tmp_path: Path
) -> None:
    status = Status(state="online", session=clock.now() + 10**9, at=clock.now())
    bench.publish(Message(STATUS, status.encode(), 1, retain=True))
    bench.step(1, steps=2)
    assert retirement(tmp_path, clock, bench.broker, lambda: bench.step(0.5)).run()
    assert is_revoked(fleet)


def test_a_server_that_does_not_run_retires_the_machine_when_it_runs_again(
    bench: Bench, fleet: Engine, clock: Clock, tmp_path: Path
) -> None:
    began_at = clock.monotonic()
    assert not retirement(tmp_path, clock, bench.broker, lambda: None).run()
    assert clock.monotonic() - began_at <= CONFIRM_SECONDS + 2
    bench.step(1, steps=3)
    assert is_revoked(fleet)
    assert retained(bench.broker) == []


class Silent:
    """A transport that never connects; `events` are what it returns first."""

    connected = False

    def __init__(self, clock: Clock, *events: Event) -> None:
        self._clock, self._events = clock, list(events)

    def receive(self, _limit: int, wait: float) -> list[Event]:
        self._clock.advance(wait)
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("event", "seconds"),
    [(Disconnected("no route to host"), CONNECT_SECONDS), (Disconnected("not authorized", refused=True), 0.2)],
)
def test_a_server_that_cannot_be_reached_is_one_sentence_in_bounded_time(
    clock: Clock, tmp_path: Path, event: Disconnected, seconds: float
) -> None:
    settings = AgentSettings(data=tmp_path, machine="attic", server="mqtts://fleet.example.org")
    began_at = clock.monotonic()
    with pytest.raises(UserError, match=rf"at mqtts://fleet.example.org.* \({event.reason}\), so nothing was removed"):
        Retirement(settings, lambda _: Silent(clock, event), clock).run()  # type: ignore[arg-type,return-value]
    assert clock.monotonic() - began_at == pytest.approx(seconds, abs=0.3)


class RecordedService(Service):
    """A service manager that records what it is told."""

    title = "recorded"

    def __init__(self) -> None:
        self.told: list[str] = []

    def is_here(self) -> bool:
        return True

    def files(self, program: Path, data: Path) -> dict[Path, str]:
        raise NotImplementedError

    def is_active(self) -> bool:
        return True

    def start(self) -> bool:
        self.told.append("start")
        return True

    def remove(self) -> None:
        self.told.append("remove")


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedService:
    """An installation in `opt` and `data`."""
    made = RecordedService()
    monkeypatch.setattr(uninstaller, "SERVICES", [made])
    (tmp_path / "opt").mkdir()
    (tmp_path / "data" / "agent").mkdir(parents=True)
    write_secret(StateDirectory(tmp_path / "data").secret("agent"), "made-up")
    StateDirectory(tmp_path / "data").enrol({"server": "mqtts://h", "org": "home", "machine": "attic"})
    InstallationRecord(str(tmp_path / "opt"), str(tmp_path / "data"), service="recorded").write()
    return made


def test_a_machine_that_cannot_be_retired_keeps_its_agent_and_one_that_can_loses_it(
    tmp_path: Path, service: RecordedService
) -> None:
    def unreachable(_: Path) -> bool:
        assert service.told == ["remove"]  # two connections of one machine would end each other
        raise UserError("cannot retire this machine")

    said: list[str] = []
    with pytest.raises(UserError, match="cannot retire"):
        uninstaller.uninstall(tmp_path / "opt", keep_data=False, say=said.append, retire=unreachable)
    assert service.told == ["remove", "start"]
    assert (tmp_path / "opt").exists()
    assert (tmp_path / "data").exists()

    uninstaller.uninstall(tmp_path / "opt", keep_data=False, say=said.append, retire=lambda _: False)
    assert "The broker keeps the message that retires home/attic" in said[-1]
    assert not (tmp_path / "opt").exists()
    assert not (tmp_path / "data").exists()
