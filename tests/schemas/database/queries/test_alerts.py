from seeding import NOW, Fleet
from sqlalchemy import Engine

from schemas.database.queries.alerts import list_alerts


def test_alerts_are_listed_with_whose_they_are_and_those_that_are_over_when_asked_for(database: Engine) -> None:
    fleet = Fleet(database)
    web, other = fleet.machine("web"), fleet.machine("web", org="other")
    fleet.alert(web, "disk", NOW - 5000, title="Disk nearly full", detail="99 %", severity="critical")
    fleet.alert(web, "cpu", NOW - 9000, ended_at=NOW)
    fleet.alert(other, "clock", NOW)
    assert [(row["org"], row["rule"]) for row in list_alerts(database)] == [("other", "clock"), ("home", "disk")]
    assert [row["rule"] for row in list_alerts(database, org_name="home", over=True)] == ["disk", "cpu"]
    assert list_alerts(database, org_name="home", machine_name="web", limit=1) == [
        {
            "org": "home",
            "machine": "web",
            "rule": "disk",
            "title": "Disk nearly full",
            "severity": "critical",
            "detail": "99 %",
            "started_at": NOW - 5000,
            "ended_at": None,
        }
    ]
