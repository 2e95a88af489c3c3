"""Who may see and change which destinations."""

from pathlib import Path

import pytest
from clocks import Clock
from sqlalchemy import Engine

from dashboard.auth.passwords import AccountError
from dashboard.auth.users import add_user, remove_user
from dashboard.destinations.notification_centre import Caller, NotificationCentre
from schemas.people.deliveries import TESTS_WAITING_MAX
from schemas.people.routing import Preferences
from schemas.people.secret_box import SecretBox

PASSWORD = "correct horse battery staple"
ADA, BOB, EVE = Caller("ada", "acme"), Caller("bob", "acme"), Caller("eve", "other")
URL = "https://example.org/hook"

pytestmark = pytest.mark.usefixtures("quick_hashing")


@pytest.fixture
def centre(accounts: Engine, tmp_path: Path, clock: Clock) -> NotificationCentre:
    for caller, role in ((ADA, "admin"), (BOB, "viewer"), (EVE, "admin")):
        add_user(accounts, caller.name, PASSWORD, role, caller.org)
    return NotificationCentre(accounts, SecretBox.load(tmp_path / "key"), clock)


def test_an_admin_manages_the_destinations_of_their_organisation_alone(centre: NotificationCentre) -> None:
    centre.add(ADA, "", "hook", URL)
    assert [each.name for each in centre.listed(ADA, "")] == ["hook"]
    assert centre.listed(EVE, "") == []
    with pytest.raises(AccountError, match="no destination"):
        centre.remove(EVE, "", "hook")
    with pytest.raises(AccountError, match="no destination"):
        centre.secret(EVE, "", "hook")
    centre.remove(ADA, "", "hook")
    assert centre.listed(ADA, "") == []


def test_a_viewer_has_destinations_of_their_own_and_no_others(centre: NotificationCentre) -> None:
    centre.add(ADA, "", "hook", URL)
    centre.add(BOB, "bob", "phone", "ntfy://bobs-topic")
    for attempt in (
        lambda: centre.listed(BOB, ""),
        lambda: centre.add(BOB, "", "mine", URL),
        lambda: centre.remove(BOB, "", "hook"),
        lambda: centre.secret(BOB, "", "hook"),
        lambda: centre.send_test(BOB, "", "hook"),
        lambda: centre.log(BOB, "", 10),
        lambda: centre.templates(BOB),
        lambda: centre.set_template(BOB, "en", "x", "y"),
        lambda: centre.reports(BOB),
        lambda: centre.listed(BOB, "ada"),
        lambda: centre.listed(ADA, "bob"),
        lambda: centre.set_preferences(ADA, "bob", "", Preferences()),
    ):
        with pytest.raises(AccountError, match="only admins"):
            attempt()
    assert [each.name for each in centre.listed(BOB, "bob")] == ["phone"]


def test_a_user_who_was_removed_can_do_nothing_and_leaves_no_destination(
    centre: NotificationCentre, accounts: Engine
) -> None:
    centre.add(BOB, "bob", "phone", "ntfy://bobs-topic")
    remove_user(accounts, "bob")
    with pytest.raises(AccountError, match="only users of this organisation"):
        centre.listed(BOB, "bob")
    add_user(accounts, "bob", PASSWORD, "viewer", "acme")
    assert centre.listed(BOB, "bob") == []


def test_a_user_of_another_organisation_cannot_claim_to_be_of_this_one(centre: NotificationCentre) -> None:
    with pytest.raises(AccountError, match="only users of this organisation"):
        centre.listed(Caller("eve", "acme"), "")


def test_private_addresses_cannot_be_allowed_from_the_dashboard(centre: NotificationCentre) -> None:
    centre.add(ADA, "", "inside", "https://127.0.0.1/hook")
    assert not centre.find(ADA, "", "inside").allow_private


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254/latest",
        "json://0xA9FEA9FE/",
        "https://[fe80::1]/hook",
        "https://[::ffff:169.254.1.1]/x",
    ],
)
def test_an_address_that_is_never_sent_to_is_refused_when_a_destination_is_added_or_changed(
    centre: NotificationCentre, url: str
) -> None:
    with pytest.raises(AccountError, match="is never sent to"):
        centre.add(ADA, "", "inside", url)
    centre.add(ADA, "", "hook", "https://example.org/hook")
    with pytest.raises(AccountError, match="is never sent to"):
        centre.set_url(ADA, "", "hook", url)
    assert [each.name for each in centre.listed(ADA, "")] == ["hook"]


def test_preferences_of_a_user_hold_for_all_their_destinations(centre: NotificationCentre) -> None:
    centre.set_preferences(BOB, "bob", "", Preferences(language="fr"))
    centre.add(BOB, "bob", "phone", "ntfy://bobs-topic")
    assert centre.find(BOB, "bob", "phone").preferences.language == "fr"
    centre.set_preferences(BOB, "bob", "", Preferences(language="es"))
    assert centre.find(BOB, "bob", "phone").preferences.language == "es"


def test_tests_are_bounded_and_their_outcome_is_seen_by_the_owner_alone(centre: NotificationCentre) -> None:
    centre.add(BOB, "bob", "phone", "ntfy://bobs-topic")
    first = centre.send_test(BOB, "bob", "phone")
    assert centre.delivery(BOB, "bob", first) is not None
    assert centre.delivery(ADA, "", first) is None
    for _ in range(TESTS_WAITING_MAX - 1):
        centre.send_test(BOB, "bob", "phone")
    with pytest.raises(AccountError, match="too many tests"):
        centre.send_test(BOB, "bob", "phone")


@pytest.mark.parametrize("url", ["dbus://", "mailto://a@b?pgp=sign", "", "javascript:alert(1)"])
def test_a_url_that_is_not_allowed_is_refused_with_a_sentence(centre: NotificationCentre, url: str) -> None:
    with pytest.raises(AccountError):
        centre.add(ADA, "", "x", url)
