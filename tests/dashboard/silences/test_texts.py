"""Silences and acknowledgements in words, and the change that the dialog makes of what was entered."""

from datetime import UTC, datetime, time
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from seeding import NOW

from dashboard.i18n.text import Word
from dashboard.silences import form, texts
from schemas.contract.alerts import Weekly
from schemas.contract.machine_selector import MachineSelector
from schemas.fleet.silences import Silence

NOBODY = {"acknowledged_at": None, "acknowledged_by": None, "acknowledged_comment": None}
SOUND = {"silenced_until": None, "silence_reason": None}
PARIS = ZoneInfo("Europe/Paris")


def alert(**given: Any) -> SimpleNamespace:  # noqa: ANN401
    return SimpleNamespace(**{"ended_at": None, **NOBODY, **SOUND, **given})


def test_an_alert_says_who_attends_to_it_and_why() -> None:
    acknowledged = alert(acknowledged_at=NOW, acknowledged_by="ada", acknowledged_comment="on my way", silenced_until=1)
    silenced = alert(silenced_until=NOW + 60_000, silence_reason="roof work")
    assert texts.attention(alert(), NOW, UTC) is None
    assert texts.attention(acknowledged, NOW, UTC) == Word("Acknowledged by ada", "plain")
    assert texts.attention_reason(acknowledged) == "on my way"
    word = texts.attention(silenced, NOW, UTC)
    assert word is not None
    assert word.label.startswith("Silenced until ")
    assert texts.attention_reason(silenced) == "roof work"
    assert texts.attention(alert(ended_at=NOW, acknowledged_at=NOW), NOW, UTC) is None


def test_a_silence_says_which_machines_rule_and_time() -> None:
    weekly = Weekly(days=("mon", "tue"), start="22:00", end="02:00", zone="Europe/Paris")
    silence = Silence(MachineSelector(labels={"site": "nantes"}), NOW, rule="disk", weekly=weekly)
    assert texts.machines(silence.selector) == "site=nantes"
    assert texts.machines(MachineSelector()) == "All machines"
    assert (texts.rule("disk", {"disk": "Disk nearly full"}), texts.rule("gone", {})) == ("Disk nearly full", "gone")
    assert texts.rule("", {}) == "Any rule"
    assert texts.when(silence, NOW, UTC) == "Mon, Tue 22:00–02:00 Europe/Paris"
    once = Silence(MachineSelector(), NOW, ends_at=NOW + 7_200_000, ended_at=NOW + 3_600_000)
    start, end = texts.when(once, NOW, UTC).split(" – ")
    assert start < end


class Entered:
    """The state of a dialog in which this was entered."""

    def __init__(self, **values: object) -> None:
        self.values = values

    def value(self, name: str) -> object:
        return self.values.get(name)


def change(**values: object) -> Any:  # noqa: ANN401
    return form._change(PARIS, Entered(**{"kind": "once", "reason": " roof work ", **values}))  # type: ignore[arg-type]


def test_what_is_entered_becomes_a_silence() -> None:
    made = change(lifetime=7200, machines=["attic"], labels=["site=nantes", "note=a=b"], rule="disk")
    assert (made.lifetime_seconds, made.starts_at, made.weekly, made.reason) == (7200, None, None, "roof work")
    assert (made.selector.machines, made.rule) == (("attic",), "disk")
    assert made.selector.labels == {"site": "nantes", "note": "a=b"}


def test_a_start_is_in_the_time_zone_of_the_visitor() -> None:
    made = change(kind="later", start=datetime.fromisoformat("2026-07-01T22:00"), lifetime=3600)
    assert datetime.fromtimestamp(made.starts_at / 1000, UTC) == datetime(2026, 7, 1, 20, tzinfo=UTC)


def test_a_schedule_has_its_days_in_the_order_of_the_week() -> None:
    times = {"from": time(22), "until": time(6, 30), "zone": "America/New_York"}
    made = change(kind="weekly", days=["sun", "mon"], **times)
    assert made.weekly == Weekly(days=("mon", "sun"), start="22:00", end="06:30", zone="America/New_York")
    assert made.lifetime_seconds is None
    with pytest.raises(ValueError, match="days"):
        change(kind="weekly", days=[], **times)
