"""Alerts as the pages show them."""

from datetime import UTC

from seeding import NOW, Fleet
from sqlalchemy import Engine

from dashboard.alerts import rows
from dashboard.i18n import external_texts
from dashboard.i18n.language import speaking
from ingestor.alerts import rules
from ingestor.alerts.rule import discover
from ingestor.alerts.rules.away import SENTENCES
from ingestor.alerts.rules.unmeasured import VITALS
from schemas.database.queries import alerts


def test_alerts_that_last_come_first_the_critical_ones_before_all(fleet: Fleet, reader: Engine) -> None:
    web, other = fleet.machine("web"), fleet.machine("web", org="other")
    fleet.alert(web, "clock", NOW - 9000)
    fleet.alert(web, "disk", NOW - 10_000, severity="critical")
    fleet.alert(web, "cpu", NOW - 50_000, ended_at=NOW - 20_000)
    fleet.alert(web, "memory", NOW - 60_000, ended_at=NOW - 10_000)
    fleet.alert(other, "away", NOW)
    found = alerts.list_org_alerts(reader, "home", limit=10)
    assert [row.rule for row in found] == ["disk", "clock", "memory", "cpu"]
    assert [row.rule for row in alerts.list_org_alerts(reader, "home", limit=1)] == ["disk"]


def test_a_machines_alerts_are_its_own(fleet: Fleet, reader: Engine) -> None:
    for org in ("home", "other"):
        fleet.alert(fleet.machine("web", org=org), f"of-{org}", NOW)
    fleet.alert(fleet.machine("db"), "of-another", NOW)
    assert [row.rule for row in alerts.list_machine_alerts(reader, "home", "web", limit=10)] == ["of-home"]


def test_a_row_says_what_where_how_bad_since_when_and_for_how_long(fleet: Fleet, reader: Engine) -> None:
    web = fleet.machine("web", hostname="<b>web</b>")
    fleet.alert(web, "disk", NOW - 90_000, title="Disk nearly full", detail="99 %", severity="critical")
    fleet.alert(web, "cpu", NOW - 90_000, ended_at=NOW - 30_000, title="Mine, own", severity="critical")
    lasting, over = rows.rows(alerts.list_org_alerts(reader, "home", limit=10), NOW, UTC, path="/machine")
    assert (lasting["id"], lasting["href"]) == ("web", "/machine?id=web")
    shown = [(cell["text"], cell.get("tone", "")) for cell in lasting["cells"]]
    assert shown[:3] == [("Disk nearly full", ""), ("<b>web</b>", ""), ("Critical", "bad")]
    assert [cell["text"] for cell in over["cells"]][0::2] == ["Mine, own", "Resolved", "1 min"]


def test_all_that_our_rules_say_is_known_in_every_language() -> None:
    said = {rule.title for rule in discover(rules)} | set(SENTENCES.values()) | set(VITALS.values())
    assert said <= external_texts.KNOWN


def test_what_other_rules_say_stays_as_they_say_it() -> None:
    with speaking("fr"):
        assert external_texts.translated_details("Fleet, 99 %") == "Fleet, 99 %"
