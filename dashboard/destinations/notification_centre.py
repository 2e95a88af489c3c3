"""Destinations, preferences, templates and deliveries, as the users of the dashboard see and change them.

Invariants:
- The caller is looked up at each call: a user of that organisation now, and an admin for all that is not their own.
- `owner` is empty for the organisation's destinations, or the caller; nobody reaches those of another user.
- Private addresses cannot be allowed here: that is up to the server's owner (`dashfleet notify add --allow-private`).
  Addresses that nobody can allow are refused at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Engine

from dashboard.auth import users
from dashboard.auth.passwords import AccountError
from dashboard.auth.users import UserRole
from runtime.clock import Clock
from schemas.people import deliveries, destinations, message_templates, report_schedules
from schemas.people.addresses import refusal_of_url
from schemas.people.deliveries import Delivery
from schemas.people.destinations import Destination
from schemas.people.routing import Preferences, Route
from schemas.people.secret_box import SecretBox
from schemas.people.services import DestinationError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """The signed-in user, as named by their own session."""

    name: str
    org: str


class NotificationCentre:
    """The notifications of all organisations; each method is limited to the caller's. Raises AccountError."""

    def __init__(self, engine: Engine, box: SecretBox, clock: Clock) -> None:
        self._engine = engine
        self._box = box
        self._clock = clock

    def listed(self, caller: Caller, owner: str) -> list[Destination]:
        """Return the destinations of an owner, by name."""
        return self._do(caller, owner, lambda: destinations.list_destinations(self._engine, caller.org, owner=owner))

    def find(self, caller: Caller, owner: str, name: str) -> Destination:
        """Return a destination as it is now."""
        return self._do(
            caller, owner, lambda: destinations.find_destination(self._engine, caller.org, name, owner=owner)
        )

    def add(self, caller: Caller, owner: str, name: str, url: str) -> None:
        """Add a destination; one of a user is told as the user prefers."""

        def change() -> None:
            _check_address(url)
            preferences = self._own_preferences(caller, owner)
            destinations.add_destination(
                self._engine,
                self._box,
                caller.org,
                name,
                url,
                by=caller.name,
                now=self._clock.now(),
                owner=owner,
                preferences=preferences,
            )

        self._do(caller, owner, change)

    def remove(self, caller: Caller, owner: str, name: str) -> None:
        """Remove a destination."""
        found = self.find(caller, owner, name)
        self._do(caller, owner, lambda: destinations.remove_destination(self._engine, found))

    def set_url(self, caller: Caller, owner: str, name: str, url: str) -> None:
        """Replace the URL of a destination."""
        found = self.find(caller, owner, name)

        def change() -> None:
            _check_address(url)
            destinations.set_url(self._engine, self._box, found, url)

        self._do(caller, owner, change)

    def add_route(self, caller: Caller, owner: str, name: str, route: Route) -> None:
        """Add a route to a destination."""
        found = self.find(caller, owner, name)
        self._do(caller, owner, lambda: destinations.add_route(self._engine, found, route))

    def remove_route(self, caller: Caller, owner: str, name: str, route: Route) -> None:
        """Remove this route of a destination, wherever it is in the list."""
        found = self.find(caller, owner, name)
        self._do(caller, owner, lambda: destinations.remove_route(self._engine, found, route))

    def preferences(self, caller: Caller, owner: str, name: str) -> Preferences:
        """Return how a destination is told; those of a user share this."""
        return self._do(caller, owner, lambda: self._own_preferences(caller, owner)) or (
            self.find(caller, owner, name).preferences
        )

    def set_preferences(self, caller: Caller, owner: str, name: str, preferences: Preferences) -> None:
        """Change how a destination is told, or all destinations of a user."""

        def change() -> None:
            if owner:
                destinations.set_owner_preferences(self._engine, caller.org, owner, preferences)
            else:
                found = destinations.find_destination(self._engine, caller.org, name)
                destinations.set_preferences(self._engine, found, preferences)

        self._do(caller, owner, change)

    def secret(self, caller: Caller, owner: str, name: str) -> str:
        """Return the secret with which messages to a webhook are signed."""
        return destinations.webhook_secret(self._box, self.find(caller, owner, name))

    def send_test(self, caller: Caller, owner: str, name: str) -> int:
        """Queue a test message and return the id of its delivery."""
        found = self.find(caller, owner, name)
        id_ = deliveries.queue_test(self._engine, found, by=caller.name, now=self._clock.now())
        if id_ is None:
            raise AccountError("too many tests wait: is the notifier running?")
        return id_

    def delivery(self, caller: Caller, owner: str, id_: int) -> Delivery | None:
        """Return a delivery of an owner's destination."""
        found = self._do(caller, owner, lambda: deliveries.find_delivery(self._engine, caller.org, id_))
        return found if found is not None and found.owner == owner else None

    def log(self, caller: Caller, owner: str, limit: int) -> list[Delivery]:
        """Return the newest deliveries to an owner's destinations."""
        return self._do(
            caller, owner, lambda: deliveries.list_deliveries(self._engine, caller.org, owner=owner, limit=limit)
        )

    def reports(self, caller: Caller) -> dict[int, dict[str, int]]:
        """Return for each destination of the organisation the hour of its reports, by period."""
        return self._do(caller, "", lambda: report_schedules.list_reports(self._engine, caller.org))

    def set_report(self, caller: Caller, name: str, period: str, hour: int | None) -> None:
        """Send a report at this hour, or no more."""
        found = self.find(caller, "", name)
        self._do(caller, "", lambda: report_schedules.set_report(self._engine, found, period, hour))

    def templates(self, caller: Caller) -> dict[str, tuple[str, str]]:
        """Return title and body of the organisation's own templates, by language."""
        return self._do(caller, "", lambda: message_templates.read_templates(self._engine, caller.org))

    def set_template(self, caller: Caller, language: str, title: str, body: str) -> None:
        """Replace the template of a language; empty texts restore the default."""
        self._do(caller, "", lambda: message_templates.set_template(self._engine, caller.org, language, title, body))

    def _own_preferences(self, caller: Caller, owner: str) -> Preferences | None:
        return destinations.owner_preferences(self._engine, caller.org, owner) if owner else None

    def _do(self, caller: Caller, owner: str, action: Callable[[], T]) -> T:
        """Run `action` if the caller may change an owner's destinations. Raises AccountError."""
        with self._engine.connect() as connection:
            found = users.find_user(connection, caller.name)
        if found is None or found.org != caller.org:
            raise AccountError("only users of this organisation may do this")
        if owner != caller.name and not (owner == "" and found.role is UserRole.ADMIN):
            raise AccountError("only admins may change this")
        try:
            return action()
        except DestinationError as error:
            raise AccountError(error.args[0], field=error.field) from None


def _check_address(url: str) -> None:
    """Raise DestinationError for a numeric address that is never allowed."""
    if reason := refusal_of_url(url, allow_private=True, permit=""):
        raise DestinationError(reason)
