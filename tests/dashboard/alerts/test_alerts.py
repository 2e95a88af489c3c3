"""Alerts as the pages show them."""

from dashboard.i18n import external_texts
from dashboard.i18n.language import speaking
from ingestor.alerts.plan import AWAY_REASONS
from schemas.alerts.condition import HEALTH_WORDS
from schemas.contract.alert_rules import DEFAULT_RULES


def test_all_that_our_rules_say_is_known_in_every_language() -> None:
    said = {rule.title for rule in DEFAULT_RULES} | set(AWAY_REASONS.values()) | set(HEALTH_WORDS)
    assert said <= external_texts.KNOWN


def test_what_other_rules_say_stays_as_they_say_it() -> None:
    with speaking("fr"):
        assert external_texts.translated_details("Fleet, 99 %") == "Fleet, 99 %"
