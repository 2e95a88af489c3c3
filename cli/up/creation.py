"""Creation of what one machine needs to run the parts: tables, credentials, a signing key, the first user.

Invariants:
- What exists is kept.
- The first password is in a file that only its owner can read before there is a user with it, so that it is not lost if
  the start fails; the database has only its hash.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.options import CLOCK
from cli.settings import effective
from cli.up.first_names import ADMIN, ORG
from runtime.settings.secret_files import read_secret, write_secret
from runtime.state_directory import StateDirectory

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.access.policy import Principal
    from runtime.settings.homeassistant import HomeAssistantSettings


def create_missing(
    state: StateDirectory,
    database_url: str,
    *,
    machine: str | None,
    ingestor: str | None = None,
    homeassistant: "HomeAssistantSettings | None" = None,
) -> None:
    """Create the tables, the organisation, credentials of all parts, and the first signing key; keep existing ones.

    `machine` and `ingestor` name a machine and a further ingestor that get a credential, `homeassistant` are the
    settings of a bridge that gets one.
    """
    from broker.access.credentials import new_secret
    from ingestor.admin.access import add_org, add_principal
    from ingestor.admin.schema_upgrade import upgrade_after_backup
    from runtime.settings.ingestor import IngestorSettings
    from schemas.database.engine import open_engine

    engine = open_engine(database_url)
    backup = effective(IngestorSettings, state.data, database=database_url).backup_before_upgrade
    upgrade_after_backup(engine, state.data, CLOCK, backup=backup)
    add_org(engine, ORG, now=CLOCK.now)
    for part, principal in _principals(machine, ingestor, homeassistant).items():
        path = state.secret(part)
        if not path.exists():
            write_secret(path, new_secret())
        add_principal(engine, principal, read_secret(path), now=CLOCK.now, revive=False)
    _create_signing_key(engine, state, agent=machine is not None)
    engine.dispose()


def _principals(
    machine: str | None, ingestor: str | None, homeassistant: "HomeAssistantSettings | None"
) -> "dict[str, Principal]":
    """Return the principal of each part; see `create_missing`."""
    from broker.access.policy import NOTIFIER, Principal, Role
    from broker.client.request_client import DASHBOARD, OPERATOR_NAME
    from broker.client.topic_tail import READER_NAME
    from ingestor.run import PRINCIPAL

    principals = {
        PRINCIPAL.name: PRINCIPAL,
        **({} if ingestor is None else {ingestor: replace(PRINCIPAL, name=ingestor)}),
        "dashboard": DASHBOARD,
        "notifier": NOTIFIER,
        "watch": Principal(Role.READER, ORG, READER_NAME),
        "act": Principal(Role.OPERATOR, ORG, OPERATOR_NAME),
    }
    if machine is not None:
        principals["agent"] = Principal(Role.MACHINE, ORG, machine)
    if homeassistant is not None:
        from bridges.homeassistant.run import bridge_principal

        principals["homeassistant"] = bridge_principal(ORG, buttons=bool(homeassistant.buttons))
    return principals


def create_first_user(database_url: str, password_file: Path) -> bool:
    """Create the first user, with a new password in a file; return whether there was none."""
    from dashboard.auth.auth_database import open_auth_database
    from dashboard.auth.passwords import new_password
    from dashboard.auth.users import UserRole, add_user, has_users

    engine = open_auth_database(database_url)
    try:
        if has_users(engine):
            return False
        write_secret(password_file, password := new_password())
        add_user(engine, ADMIN, password, role=UserRole.ADMIN, org=ORG, by="dashfleet up")
        return True
    finally:
        engine.dispose()


def _create_signing_key(engine: "Engine", state: StateDirectory, *, agent: bool) -> None:
    """Create the first signing key, once, and have the agent here trust the keys in force."""
    from agent.orders.journal import create_before_keys
    from agent.orders.trusted_keys import KEYS_FILE, write_keys
    from ingestor.admin.key_changes import add_key, has_keys, list_keys
    from schemas.contract.enrolment import EnrolledKey
    from schemas.contract.signing import new_key

    path = state.signing / ORG
    if not has_keys(engine, ORG):
        if not path.exists():
            write_secret(path, new_key())
        add_key(engine, ORG, read_secret(path), signer=None, name="first", expires_at=None, now=CLOCK.now)
    trusted = state.data / "agent" / KEYS_FILE
    if agent and not trusted.exists():
        known = [key for key in list_keys(engine, ORG, now=CLOCK.now) if key["in_force"]]
        fields = ("public_key", "name", "expires_at")
        create_before_keys(trusted.parent, CLOCK)
        write_keys(trusted, ORG, [EnrolledKey(**{name: key[name] for name in fields}) for key in known])
