"""Alerts as the pages show them."""

from seeding import NOW, Fleet
from sqlalchemy import Engine

from dashboard.i18n import external_texts
from dashboard.i18n.language import speaking
from ingestor.alerts.plan import AWAY_REASONS
from schemas.alerts.condition import HEALTH_WORDS
from schemas.contract.alert_rules import DEFAULT_RULES
from schemas.database.queries import alerts


def test_a_machines_alerts_are_its_own(fleet: Fleet, reader: Engine) -> None:
    for org in ("home", "other"):
        fleet.alert(fleet.machine("web", org=org), f"of-{org}", NOW)
    fleet.alert(fleet.machine("db"), "of-another", NOW)
    assert [row.rule for row in alerts.list_machine_alerts(reader, "home", "web", limit=10)] == ["of-home"]


def test_all_that_our_rules_say_is_known_in_every_language() -> None:
    said = {rule.title for rule in DEFAULT_RULES} | set(AWAY_REASONS.values()) | set(HEALTH_WORDS)
    assert said <= external_texts.KNOWN


def test_what_other_rules_say_stays_as_they_say_it() -> None:
    with speaking("fr"):
        assert external_texts.translated_details("Fleet, 99 %") == "Fleet, 99 %"
