"""Alert rules that every organisation begins with, whether a migration or the ingestor has added them."""

import importlib

from clocks import Clock
from sqlalchemy import Engine, delete, select, text
from sqlalchemy.engine import Connection

from ingestor.admin.access import add_org
from schemas.contract.alert_rules import DEFAULT_RULES, AlertRule
from schemas.database import tables
from schemas.database.rule_rows import read_rule


def rules(connection: Connection) -> list[AlertRule | None]:
    return [read_rule(row) for row in connection.execute(select(tables.alert_rule).order_by(tables.alert_rule.c.id))]


def test_a_new_organisation_has_the_default_rules(database: Engine, clock: Clock) -> None:
    add_org(database, "home", now=clock.now)
    with database.connect() as connection:
        assert rules(connection) == list(DEFAULT_RULES)


def test_the_migration_gives_existing_organisations_the_same_rules(database: Engine, clock: Clock) -> None:
    names = ("0011_alert_rules", "0019_rule_device")
    migrations = [importlib.import_module(f"schemas.database.migrations.versions.{name}") for name in names]
    add_org(database, "home", now=clock.now)
    with database.begin() as connection:
        connection.execute(text("DROP TABLE alert_rule"))
        from alembic.migration import MigrationContext
        from alembic.operations import Operations

        with Operations.context(MigrationContext.configure(connection)):
            for migration in migrations:
                migration.upgrade()
        assert rules(connection) == list(DEFAULT_RULES)


def test_the_rules_of_an_organisation_go_with_it(database: Engine, clock: Clock) -> None:
    add_org(database, "home", now=clock.now)
    with database.begin() as connection:
        connection.execute(delete(tables.org))
        assert rules(connection) == []
