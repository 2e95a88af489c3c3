from seeding import NOW, Fleet
from sqlalchemy import Engine, update

from schemas.database.queries.alerts import list_alerts
from schemas.database.tables import alert


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
            "id": 1,
            "org": "home",
            "machine": "web",
            "rule": "disk",
            "title": "Disk nearly full",
            "severity": "critical",
            "detail": "99 %",
            "value": None,
            "unit": None,
            "started_at": NOW - 5000,
            "ended_at": None,
            "past": False,
            "withdrawn": False,
            "acknowledged_at": None,
            "acknowledged_by": None,
            "acknowledged_comment": None,
            "silenced_until": None,
            "silence_reason": None,
        }
    ]


def test_alerts_are_filtered_by_rule_severity_and_whether_somebody_attends_to_them(database: Engine) -> None:
    fleet = Fleet(database)
    web = fleet.machine("web")
    for rule, severity in (("disk", "critical"), ("cpu", "warning"), ("clock", "warning")):
        fleet.alert(web, rule, NOW, severity=severity)
    with database.begin() as connection:
        connection.execute(update(alert).where(alert.c.rule == "disk").values(acknowledged_at=NOW))
        connection.execute(update(alert).where(alert.c.rule == "cpu").values(silenced_until=NOW + 1))
    assert [row["rule"] for row in list_alerts(database, severity="critical")] == ["disk"]
    assert [row["rule"] for row in list_alerts(database, rule="cpu")] == ["cpu"]
    assert [row["rule"] for row in list_alerts(database, unattended=True)] == ["clock"]
