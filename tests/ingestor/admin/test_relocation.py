"""Machines that move between servers: what the old server exports, and what the new one accepts."""

import pytest
from sqlalchemy import Engine, select

from broker.access.credentials import verify_secret
from broker.access.policy import Principal, Role
from broker.access.principals import TableDirectory
from ingestor.admin.access import add_principal, new_org, revoke_principal
from ingestor.admin.relocation import accept_machines, export_machines, trusted_keys
from runtime.clock import SystemClock
from runtime.errors import UserError
from schemas.database import tables
from schemas.relocation.machines import MovingMachine, MovingMachines

NOW = SystemClock().now
SECRET = "made-up"
RECORD = "$7$101$AAAAAAAAAAAAAAAA$" + "A" * 85 + "=" * 3


@pytest.fixture
def exported(fleet: Engine) -> MovingMachines:
    add_principal(fleet, Principal(Role.MACHINE, "home", "shed"), SECRET, now=NOW)
    return export_machines(fleet, "home", None)


def test_machines_are_exported_with_records_and_without_secrets(exported: MovingMachines) -> None:
    assert [each.machine for each in exported.machines] == ["attic", "shed"]
    assert all(verify_secret(SECRET, each.secret_hash) for each in exported.machines)
    assert SECRET not in exported.model_dump_json()
    assert MovingMachines.read(exported.model_dump_json()) == exported


def test_only_machines_that_were_named_are_exported(fleet: Engine) -> None:
    assert [each.machine for each in export_machines(fleet, "home", ["attic"]).machines] == ["attic"]


def test_revoked_and_unknown_machines_are_not_exported(fleet: Engine) -> None:
    revoke_principal(fleet, "home.attic", now=NOW)
    for names in (["attic"], ["nowhere"]):
        with pytest.raises(UserError, match=f"no machine {names[0]} with a valid credential"):
            export_machines(fleet, "home", names)
    with pytest.raises(UserError, match=r"home has no machine$"):
        export_machines(fleet, "home", None)


def test_an_accepted_machine_connects_with_its_old_secret(fleet: Engine, exported: MovingMachines) -> None:
    new_org(fleet, "acme", now=NOW)

    assert accept_machines(fleet, "acme", exported, now=NOW) == ["attic", "shed"]

    directory = TableDirectory(fleet)
    directory.refresh()
    found = directory.find("acme.shed")
    assert found is not None
    assert found.record_of(SECRET) is not None
    assert found.bcrypt is not None
    with fleet.connect() as connection:
        query = select(tables.machine.c.name).join(tables.org).where(tables.org.c.name == "acme")
        assert set(connection.scalars(query)) == {"attic", "shed"}


def test_accepting_machines_again_changes_nothing(fleet: Engine, exported: MovingMachines) -> None:
    new_org(fleet, "acme", now=NOW)
    accept_machines(fleet, "acme", exported, now=NOW)

    assert accept_machines(fleet, "acme", exported, now=NOW) == []
    assert accept_machines(fleet, "home", exported, now=NOW) == []


def test_no_machine_gets_the_id_of_another(fleet: Engine, exported: MovingMachines) -> None:
    others = MovingMachines(
        org="home", machines=(*exported.machines, MovingMachine(machine="roof", secret_hash=RECORD))
    )
    add_principal(fleet, Principal(Role.MACHINE, "office", "roof"), "another", now=NOW)

    with pytest.raises(UserError, match="another machine of this id: attic, roof"):
        accept_machines(fleet, "office", others, now=NOW)
    with fleet.connect() as connection:
        assert (
            connection.scalar(select(tables.principal.c.name).where(tables.principal.c.username == "office.shed"))
            is None
        )


def test_a_machine_that_was_retired_here_is_not_accepted(fleet: Engine, exported: MovingMachines) -> None:
    revoke_principal(fleet, "home.attic", now=NOW)

    with pytest.raises(UserError, match="has or had another machine"):
        accept_machines(fleet, "home", exported, now=NOW)


def test_an_organisation_without_a_signing_key_accepts_no_machine(fleet: Engine) -> None:
    with pytest.raises(UserError, match="home has no signing key: create one"):
        trusted_keys(fleet, "home", NOW())


@pytest.mark.parametrize(
    ("text", "wrong"), [("{", "JSON"), ('{"org": "home", "machines": []}', "machines"), ('{"machines": []}', "org")]
)
def test_a_file_of_something_else_is_rejected_with_a_sentence(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=rf"no file|not a file of dashfleet move export \({wrong} is wrong\)"):
        MovingMachines.read(text)
