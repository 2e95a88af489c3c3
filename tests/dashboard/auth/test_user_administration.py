"""Administration of users: who may change whom, and the record of changes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from clocks import Clock
from sqlalchemy import Engine

from dashboard.auth import sso_accounts
from dashboard.auth.passwords import AccountError
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.sso_accounts import Grant
from dashboard.auth.user_administration import Admin, UserAdministration
from dashboard.auth.users import UserRole, add_user, verify
from schemas.database.events.event_queries import EventRange

PASSWORD = "correct horse battery"
ADA = Admin("ada", "home")
EVER = EventRange(0, 1 << 60)

pytestmark = pytest.mark.usefixtures("quick_hashing")


@pytest.fixture
def sessions(accounts: Engine, clock: Clock) -> SignInSessions:
    return SignInSessions(accounts, clock, idle_seconds=600, max_seconds=3600)


@pytest.fixture
def people(accounts: Engine, sessions: SignInSessions) -> UserAdministration:
    for name, role, org in (
        ("ada", UserRole.ADMIN, "home"),
        ("olga", UserRole.OPERATOR, "home"),
        ("carl", UserRole.ADMIN, "acme"),
    ):
        add_user(accounts, name, PASSWORD, role, org, by="root")
    return UserAdministration(accounts, sessions)


@pytest.fixture
def sign_in(accounts: Engine, sessions: SignInSessions) -> Callable[[str], str]:
    def sign_in(name: str) -> str:
        person = verify(accounts, name, PASSWORD)
        assert person is not None
        return sessions.start(person, address="192.0.2.7", browser="<b>Firefox</b>")

    return sign_in


CHANGES: dict[str, Callable[[UserAdministration, Admin, str], object]] = {
    "role": lambda people, admin, name: people.set_role(admin, name, UserRole.VIEWER),
    "password": lambda people, admin, name: people.reset_password(admin, name),
    "sign-out": lambda people, admin, name: people.sign_out(admin, name),
    "factor": lambda people, admin, name: people.reset_second_factor(admin, name),
    "remove": lambda people, admin, name: people.remove(admin, name),
}
EACH = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


def test_somebody_new_signs_in_with_the_password_that_is_returned(people: UserAdministration, accounts: Engine) -> None:
    password = people.add(ADA, "bob", UserRole.VIEWER)
    person = verify(accounts, "bob", password)
    assert person is not None
    assert (person.role, person.org) == (UserRole.VIEWER, "home")
    with pytest.raises(AccountError, match="already"):
        people.add(ADA, "bob", UserRole.ADMIN)


@EACH
def test_a_change_ends_all_sessions_of_whom_it_is_about_and_no_others(
    people: UserAdministration, sessions: SignInSessions, sign_in: Callable[[str], str], change: Callable[..., object]
) -> None:
    mine, theirs = sign_in("ada"), sign_in("olga")
    change(people, ADA, "olga")
    assert sessions.find(theirs) is None
    assert sessions.find(mine) is not None


def test_another_role_counts_and_another_password_replaces_the_one_before(
    people: UserAdministration, accounts: Engine
) -> None:
    people.set_role(ADA, "olga", UserRole.ADMIN)
    password = people.reset_password(ADA, "olga")
    assert verify(accounts, "olga", PASSWORD) is None
    person = verify(accounts, "olga", password)
    assert person is not None
    assert person.role is UserRole.ADMIN
    people.remove(Admin("olga", "home"), "ada")
    assert verify(accounts, "ada", PASSWORD) is None


@EACH
@pytest.mark.parametrize("name", ["carl", "nobody"])
def test_nobody_of_another_organisation_is_reached_or_told_apart_from_nobody(
    people: UserAdministration, accounts: Engine, change: Callable[..., object], name: str
) -> None:
    with pytest.raises(AccountError, match=f"no user {name} in this organisation"):
        change(people, ADA, name)
    assert verify(accounts, "carl", PASSWORD) is not None
    assert [row.name for row in people.listed("home")] == ["ada", "olga"]
    assert people.sessions_of("home", "carl") == []


@EACH
@pytest.mark.parametrize(
    "admin", [Admin("olga", "home"), Admin("carl", "home"), Admin("ada", "acme"), Admin("ghost", "home")], ids=str
)
def test_only_who_is_an_admin_there_now_may_change_anything(
    people: UserAdministration, change: Callable[..., object], admin: Admin
) -> None:
    with pytest.raises(AccountError, match="only admins"):
        change(people, admin, "ada")
    with pytest.raises(AccountError, match="only admins"):
        people.add(admin, "bob", UserRole.ADMIN)
    assert [row.name for row in people.listed("home")] == ["ada", "olga"]


@EACH
def test_nobody_can_take_themselves_out(people: UserAdministration, change: Callable[..., object]) -> None:
    with pytest.raises(AccountError, match="to themselves"):
        change(people, ADA, "ada")


def test_who_is_signed_in_where_is_listed_until_the_session_ends(
    people: UserAdministration, sign_in: Callable[[str], str], clock: Clock
) -> None:
    sign_in("olga")
    sign_in("olga")
    (_, olga) = people.listed("home")
    assert (olga.name, olga.sessions, olga.seen_at) == ("olga", 2, clock.now())
    assert [(row.address, row.browser) for row in people.sessions_of("home", "olga")] == [
        ("192.0.2.7", "<b>Firefox</b>")
    ] * 2
    clock.advance(601)
    assert people.listed("home")[1].sessions == 0
    assert people.sessions_of("home", "olga") == []


def test_who_signs_in_with_a_provider_has_no_role_or_password_here(
    people: UserAdministration, accounts: Engine
) -> None:
    sso_accounts.provide(accounts, '["https://id.example", "7"]', "eve@id.example", Grant("home", UserRole.VIEWER))
    assert {row.name: row.provided for row in people.listed("home")} == {
        "ada": False,
        "eve@id.example": True,
        "olga": False,
    }
    for change in (CHANGES["role"], CHANGES["password"]):
        with pytest.raises(AccountError, match="signs in with your single sign-on provider"):
            change(people, ADA, "eve@id.example")
    people.sign_out(ADA, "eve@id.example")
    people.remove(ADA, "eve@id.example")
    assert [row.name for row in people.listed("home")] == ["ada", "olga"]


def test_every_change_is_written_down_with_who_made_it(people: UserAdministration) -> None:
    people.add(ADA, "bob", UserRole.VIEWER)
    people.set_role(ADA, "bob", UserRole.OPERATOR)
    people.reset_password(ADA, "bob")
    people.sign_out(ADA, "bob")
    people.remove(ADA, "bob")
    with pytest.raises(AccountError):
        people.remove(ADA, "carl")
    found = [
        (row.by, row.kind, row.name, row.detail)
        for row in reversed(people.changes("home", replace(EVER, search="bob")))
    ]
    assert found == [
        ("ada", "add-person", "bob", "viewer"),
        ("ada", "set-role", "bob", "operator"),
        ("ada", "set-password", "bob", ""),
        ("ada", "sign-out", "bob", ""),
        ("ada", "remove-person", "bob", ""),
    ]
    assert {row.by for row in people.changes("home", EVER)} == {"ada", "root"}
    assert [row.name for row in people.changes("acme", EVER)] == ["carl"]
