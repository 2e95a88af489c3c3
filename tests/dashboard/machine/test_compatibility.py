"""The warning about an agent that speaks another version of the contract."""

from datetime import UTC
from unittest.mock import Mock

from clocks import Clock
from seeding import NOW, Fleet
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from dashboard.auth.users import UserRole
from dashboard.page.page import PageContext
from schemas.database import tables


def page(context: "PageContext") -> None:
    # its source runs alone
    from dashboard.machine import compatibility
    from schemas.database.queries.machines import find_machine

    row = find_machine(context.engine, "home", "attic")
    assert row is not None
    compatibility.draw(context, row)


def shown(database: Engine) -> str:
    publisher = Mock(certificate_end=None, unavailable=lambda _org: "", unreachable=lambda: "")
    context = PageContext(
        database, Clock(), "home", "vera", UserRole.VIEWER, UTC, refresh_seconds=5.0, publisher=publisher
    )
    at = AppTest.from_function(page, kwargs={"context": context}, default_timeout=60)
    at.run()
    assert not at.exception
    return "".join(str(each.proto.body) for each in at.get("html"))


def test_the_machine_page_says_that_the_agent_speaks_another_version_until_a_sample_is_stored(database: Engine) -> None:
    fleet = Fleet(database)
    fleet.machine("attic", agent_version="<b>9.0</b>", sampled_at=NOW - 60_000)
    assert shown(database) == ""

    fleet.dead_letter("attic", reason="wrong-version", received_at=NOW - 1000)
    warning = shown(database)
    assert "speak different versions of the contract" in warning
    assert "&lt;b&gt;9.0&lt;/b&gt;" in warning
    assert "<b>" not in warning

    with database.begin() as connection:
        connection.execute(tables.state.update().values(sampled_at=NOW))
    assert shown(database) == ""
