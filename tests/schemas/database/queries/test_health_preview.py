"""The effect of other thresholds on the machines of an organisation."""

from seeding import Fleet
from sqlalchemy import Engine

from schemas.contract.org_config import Component, Thresholds
from schemas.database.queries.settings import preview_health
from schemas.fleet.health import DEFAULT_THRESHOLDS, HealthStatus

OK, WARN, CRITICAL, UNKNOWN = HealthStatus.OK, HealthStatus.WARN, HealthStatus.CRITICAL, HealthStatus.UNKNOWN
STRICT = Thresholds(disk=Component(weight=0.3, knee_percent=30))


def test_only_current_machines_of_the_organisation_are_counted(database: Engine) -> None:
    fleet = Fleet(database)
    fleet.machine("empty", disk_percent=10.0)
    fleet.machine("half", disk_percent=70.0)
    fleet.machine("full", disk_percent=94.0)
    fleet.machine("blind", disk_percent=None)
    fleet.machine("gone", disk_percent=94.0, presence="offline")
    fleet.machine("unsure", disk_percent=94.0, verified=False)
    fleet.machine("theirs", disk_percent=94.0, org="other")
    assert preview_health(database, "home", DEFAULT_THRESHOLDS, STRICT) == {
        (OK, OK): 1,
        (OK, WARN): 1,
        (WARN, CRITICAL): 1,
        (UNKNOWN, UNKNOWN): 1,
    }
