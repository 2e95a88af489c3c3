"""Acknowledging alerts and silencing them, by requests and by admin commands: what is done, and what is refused."""

from collections.abc import Callable

import pytest
from acting import Ears, Operator
from clocks import Clock
from ingestion import Bench
from sqlalchemy import Engine, func, select

from ingestor.admin import silences
from runtime.errors import UserError
from schemas.contract.administration import Administration
from schemas.contract.alerts import Acknowledge, AddSilence, EndSilence, Unacknowledge, Weekly
from schemas.contract.machine_selector import MachineSelector
from schemas.database import tables
from schemas.database.queries.alerts import list_silences
from schemas.fleet.silences import SilenceState

HOUR = 3600
NANTES = MachineSelector(labels={"site": "nantes"})


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def ask(bench: Bench, clock: Clock) -> Callable[..., tuple[str, str]]:
    """Has a principal of an organisation ask for a change; returns the answer's state and detail."""
    ears = Ears(bench.broker)

    def ask(change: Administration, level: str = "robot") -> tuple[str, str]:
        bench.publish(Operator(clock, level=level).administer(change))
        bench.step()
        (answer,) = ears.updates(level)
        return answer.state, answer.detail

    return ask


def open_alert(fleet: Engine, org: str, rule: str = "disk") -> int:
    """An open alert of the attic of an organisation."""
    machine = select(tables.machine.c.id).join(tables.org).where(tables.org.c.name == org).scalar_subquery()
    values = {"machine_id": machine, "rule": rule, "title": "Disk", "severity": "critical", "started_at": 1000}
    with fleet.begin() as connection:
        return int(connection.execute(tables.alert.insert().values(values).returning(tables.alert.c.id)).scalar_one())


def acknowledged(fleet: Engine) -> dict[int, tuple[str, str]]:
    columns = (tables.alert.c.id, tables.alert.c.acknowledged_by, tables.alert.c.acknowledged_comment)
    with fleet.connect() as connection:
        rows = connection.execute(select(*columns).where(tables.alert.c.acknowledged_at.is_not(None)))
        return {row[0]: (row[1], row[2]) for row in rows}


def test_an_operator_acknowledges_open_alerts_of_its_organisation_and_no_others(
    fleet: Engine, ask: Callable[..., tuple[str, str]]
) -> None:
    mine, other, foreign = open_alert(fleet, "home"), open_alert(fleet, "home", "cpu"), open_alert(fleet, "office")
    state, detail = ask(Acknowledge(alerts=(mine, foreign), comment="on my way"))
    assert (state, detail) == ("accepted", "attic: disk (on my way)")
    assert acknowledged(fleet) == {mine: ("Ada", "on my way")}
    assert ask(Acknowledge(alerts=(foreign,)))[0] == "refused"
    assert ask(Acknowledge(alerts=(mine,))) == ("refused", "already acknowledged by Ada")
    assert ask(Acknowledge(alerts=(mine, other)))[0] == "accepted"
    assert acknowledged(fleet)[mine] == ("Ada", "on my way")


def test_an_acknowledgement_is_withdrawn_by_an_operator_of_its_organisation_and_no_other(
    fleet: Engine, ask: Callable[..., tuple[str, str]]
) -> None:
    mine, foreign = open_alert(fleet, "home"), open_alert(fleet, "office")
    with fleet.begin() as connection:
        silences.acknowledge(connection, "office", [foreign], "ours", "eve", 1)
    assert ask(Unacknowledge(alerts=(mine,))) == ("refused", "there is no such acknowledged alert")
    assert ask(Acknowledge(alerts=(mine,)))[0] == "accepted"
    assert ask(Unacknowledge(alerts=(mine, foreign))) == ("accepted", "attic: disk")
    assert acknowledged(fleet) == {foreign: ("eve", "ours")}


def test_a_silence_is_added_and_ended_by_request_with_who_asked_and_why(
    fleet: Engine, ask: Callable[..., tuple[str, str]], clock: Clock
) -> None:
    added = AddSilence(selector=NANTES, rule="disk", reason="disk replacement", lifetime_seconds=HOUR)
    state, detail = ask(added)
    (found,) = list_silences(fleet, "home")
    silence = found.silence
    assert (state, detail) == ("accepted", f"{silence.id}: site=nantes, disk (disk replacement)")
    assert (silence.selector, silence.rule, silence.created_by) == (NANTES, "disk", "Ada")
    assert silence.ends_at == silence.starts_at + HOUR * 1000
    assert list_silences(fleet, "office") == []
    with pytest.raises(UserError, match=f"office has no silence {silence.id}"):
        silences.change(fleet, "office", EndSilence(id=silence.id), "eve", clock.now())
    assert ask(EndSilence(id=silence.id))[0] == "accepted"
    (found,) = list_silences(fleet, "home")
    assert found.silence.state(clock.now()) is SilenceState.PAST
    assert found.silence.ended_by == "Ada"
    assert ask(EndSilence(id=silence.id)) == ("refused", f"the silence {silence.id} is over already")


def test_the_dashboard_may_ask_too_and_each_request_is_recorded(
    fleet: Engine, ask: Callable[..., tuple[str, str]]
) -> None:
    weekly = Weekly(days=("mon", "tue"), start="22:00", end="02:00", zone="Europe/Paris")
    assert ask(AddSilence(reason="backup", weekly=weekly), level="_dashboard")[0] == "accepted"
    (found,) = list_silences(fleet)
    assert (found.org, found.silence.weekly, found.silence.ends_at) == ("home", weekly, None)
    with fleet.connect() as connection:
        (record,) = connection.execute(select(tables.request)).all()
    assert (record.kind, record.state, record.detail) == (
        "silence",
        "accepted",
        f"{found.silence.id}: all machines, all rules (backup)",
    )


def add(fleet: Engine, now: int, **fields: object) -> str:
    wanted = AddSilence.model_validate({"reason": "test", "lifetime_seconds": HOUR, **fields})
    return silences.change(fleet, "home", wanted, "ann", now)


def test_a_silence_neither_begins_in_the_past_nor_after_a_year(fleet: Engine, clock: Clock) -> None:
    now = clock.now()
    with pytest.raises(UserError, match="in the past"):
        add(fleet, now, starts_at=now - 400_000)
    with pytest.raises(UserError, match="within a year"):
        add(fleet, now, starts_at=now + 367 * 86_400_000)
    add(fleet, now, starts_at=now - 100_000)
    (found,) = list_silences(fleet)
    assert found.silence.starts_at == now


def test_silences_of_an_organisation_are_bounded(fleet: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silences, "SILENCES_MAX", 3)
    monkeypatch.setattr(silences, "SILENCES_KEPT", 4)
    now = clock.now()
    for _ in range(3):
        add(fleet, now)
    with pytest.raises(UserError, match="end one first"):
        add(fleet, now)
    silences.change(fleet, "office", AddSilence(reason="x", lifetime_seconds=1), "ann", now)  # its own bound
    for _ in range(4):
        now += HOUR * 1000
        for _ in range(3):
            add(fleet, now)
    with fleet.connect() as connection:
        mine = select(func.count()).select_from(tables.silence.join(tables.org)).where(tables.org.c.name == "home")
        assert (connection.scalar(mine) or 0) <= 4 + 3


def test_an_organisation_that_does_not_exist_is_named(fleet: Engine) -> None:
    with pytest.raises(UserError, match="no organisation nowhere"):
        silences.change(fleet, "nowhere", EndSilence(id=1), "ann", 1)
