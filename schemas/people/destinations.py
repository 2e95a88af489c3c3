"""Destinations of an organisation and of its users.

Invariants:
- Every function takes the organisation, and finds no destination of another one.
- `allow_private` is set where the server's owner is the caller (the command line), never by an organisation's admin. It
  permits the address that the owner saw: a new URL ends it.
- Only `open_url` returns the URL itself; everything else shows its masked form.
- A route is added to, and removed from, the routes that are stored now, and is named by what it says, never by its
  place: somebody else may have changed the list meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, delete, func, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from runtime.clock import SystemClock
from runtime.translatable import Translatable
from schemas.database.engine import storable
from schemas.database.queries.fetch import fetch_all
from schemas.people.notification_tables import NAME_MAX, delivery, destination, person_preference, told
from schemas.people.routing import ROUTES_MAX, Preferences, Route
from schemas.people.secret_box import SecretBox
from schemas.people.services import DestinationError, check_url, masked_url

PER_ORG_MAX = 300
PER_OWNER_MAX = 20

_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination without its secret. `owner` is empty for the organisation's own."""

    id: int
    org: str
    owner: str
    name: str
    service: str
    shown: str
    allow_private: bool
    preferences: Preferences
    routes: tuple[Route, ...]
    created_at: int
    created_by: str
    routed_at: int
    url_sealed: str

    @classmethod
    def of(cls, row: Row[Any]) -> "Destination":
        """Build from a row of the table."""
        values = row._asdict()
        values["preferences"] = Preferences.model_validate(values["preferences"])
        values["routes"] = tuple(Route.model_validate(each) for each in values["routes"])
        return cls(**values)


def list_destinations(engine: Engine, org: str | None = None, *, owner: str | None = None) -> list[Destination]:
    """Return destinations by organisation and name; None for those of all organisations or owners."""
    query = select(destination).order_by(destination.c.org, destination.c.owner, destination.c.name)
    if org is not None:
        query = query.where(destination.c.org == org)
    if owner is not None:
        query = query.where(destination.c.owner == owner)
    return [Destination.of(row) for row in fetch_all(engine, query)]


def find_destination(engine: Engine, org: str, name: str, *, owner: str = "") -> Destination:
    """Return a destination by its name. Raises DestinationError if there is none."""
    query = select(destination).where(*_named(org, name, owner))
    for row in fetch_all(engine, query):
        return Destination.of(row)
    raise DestinationError(f"there is no destination {name}: dashfleet notify list shows them")


def destination_by_id(engine: Engine, id_: int) -> Destination | None:
    """Return a destination of any organisation, or None; for the notifier."""
    found = fetch_all(engine, select(destination).where(destination.c.id == id_))
    return Destination.of(found[0]) if found else None


def add_destination(
    engine: Engine,
    box: SecretBox,
    org: str,
    name: str,
    url: str,
    *,
    by: str,
    now: int,
    owner: str = "",
    allow_private: bool = False,
    preferences: Preferences | None = None,
    routes: Sequence[Route] = (),
) -> Destination:
    """Add a destination. Raises DestinationError if the name is taken or an argument is invalid."""
    name = _checked_name(name)
    row = {
        "org": org,
        "owner": owner,
        "name": name,
        **_url_columns(box, org, url),
        "allow_private": allow_private,
        "preferences": (preferences or Preferences()).model_dump(mode="json"),
        "routes": _routes_column(routes),
        "created_at": now,
        "created_by": by[:64],
        "routed_at": now,
    }
    try:
        with engine.begin() as connection:
            _require_room(connection, org, owner)
            connection.execute(insert(destination).values(row))
    except IntegrityError:
        taken = Translatable("there is a destination {name} already: choose another name", name=name)
        raise DestinationError(taken, field="name") from None
    return find_destination(engine, org, name, owner=owner)


def set_url(engine: Engine, box: SecretBox, found: Destination, url: str) -> None:
    """Replace the URL of a destination, to which private addresses are not permitted then. Raises DestinationError."""
    _change(engine, found, **_url_columns(box, found.org, url), allow_private=False)


def set_preferences(engine: Engine, found: Destination, preferences: Preferences) -> None:
    """Replace the preferences of a destination."""
    _change(engine, found, preferences=preferences.model_dump(mode="json"), routed_at=_CLOCK.now())


def set_routes(engine: Engine, found: Destination, routes: Sequence[Route]) -> None:
    """Replace the routes of a destination. Raises DestinationError if there are too many."""
    _change(engine, found, routes=_routes_column(routes), routed_at=_CLOCK.now())


def add_route(engine: Engine, found: Destination, route: Route) -> None:
    """Add a route to a destination, unless it has the same already. Raises DestinationError if there are too many."""
    _change_routes(engine, found, lambda routes: routes if route in routes else [*routes, route])


def remove_route(engine: Engine, found: Destination, route: Route) -> None:
    """Remove a route from a destination; one that is gone already changes nothing."""
    _change_routes(engine, found, lambda routes: [each for each in routes if each != route])


def remove_destination(engine: Engine, found: Destination) -> None:
    """Remove a destination; its deliveries that wait are cancelled, those that ended stay in the log."""
    with engine.begin() as connection:
        _remove(connection, found.org, found.id)


def remove_owner(connection: Connection, org: str, owner: str) -> None:
    """Remove the destinations and preferences of a user who is removed."""
    query = select(destination.c.id).where(destination.c.org == org, destination.c.owner == owner)
    for id_ in connection.execute(query).scalars().all():
        _remove(connection, org, id_)
    mine = (person_preference.c.org == org, person_preference.c.owner == owner)
    connection.execute(delete(person_preference).where(*mine))


def open_url(box: SecretBox, found: Destination) -> str:
    """Return the URL with its secrets, to send to it. Raises UserError if it cannot be decrypted."""
    return box.open(found.url_sealed, context=found.org)


def webhook_secret(box: SecretBox, found: Destination) -> str:
    """Return the secret with which messages to a webhook are signed."""
    return box.derive(f"webhook/{found.org}/{found.id}")


def owner_preferences(engine: Engine, org: str, owner: str) -> Preferences:
    """Return a user's preferences, which apply to all their destinations."""
    query = select(person_preference.c.preferences)
    query = query.where(person_preference.c.org == org, person_preference.c.owner == owner)
    found = fetch_all(engine, query)
    return Preferences.model_validate(found[0].preferences) if found else Preferences()


def set_owner_preferences(engine: Engine, org: str, owner: str, preferences: Preferences) -> None:
    """Replace a user's preferences, also at the destinations that they have."""
    stored = preferences.model_dump(mode="json")
    mine = (destination.c.org == org, destination.c.owner == owner)
    with engine.begin() as connection:
        same = (person_preference.c.org == org, person_preference.c.owner == owner)
        connection.execute(delete(person_preference).where(*same))
        connection.execute(insert(person_preference).values(org=org, owner=owner, preferences=stored))
        connection.execute(update(destination).where(*mine).values(preferences=stored, routed_at=_CLOCK.now()))


def _change(engine: Engine, found: Destination, **values: Any) -> None:  # noqa: ANN401 - columns of different types
    with engine.begin() as connection:
        mine = (destination.c.id == found.id, destination.c.org == found.org)
        connection.execute(update(destination).where(*mine).values(values))


def _change_routes(engine: Engine, found: Destination, change: Callable[[Sequence[Route]], Sequence[Route]]) -> None:
    mine = (destination.c.id == found.id, destination.c.org == found.org)
    with engine.begin() as connection:
        # a write first: it keeps other writers out until the routes that are read here are replaced
        connection.execute(update(destination).where(*mine).values(routed_at=_CLOCK.now()))
        for stored in connection.execute(select(destination.c.routes).where(*mine)).scalars().all():
            routes = change([Route.model_validate(each) for each in stored])
            connection.execute(update(destination).where(*mine).values(routes=_routes_column(routes)))


def _remove(connection: Connection, org: str, id_: int) -> None:
    waiting = (delivery.c.destination_id == id_, delivery.c.state == "queued")
    connection.execute(update(delivery).where(*waiting).values(state="cancelled", content=None))
    connection.execute(delete(told).where(told.c.destination_id == id_))
    connection.execute(delete(destination).where(destination.c.id == id_, destination.c.org == org))


def _require_room(connection: Connection, org: str, owner: str) -> None:
    counted = select(func.count()).select_from(destination).where(destination.c.org == org)
    if connection.execute(counted).scalar_one() >= PER_ORG_MAX:
        raise DestinationError(f"an organisation has at most {PER_ORG_MAX} destinations: remove one first")
    if owner and connection.execute(counted.where(destination.c.owner == owner)).scalar_one() >= PER_OWNER_MAX:
        raise DestinationError(f"a user has at most {PER_OWNER_MAX} destinations: remove one first")


def _url_columns(box: SecretBox, org: str, url: str) -> dict[str, str]:
    url = url.strip()
    return {
        "service": check_url(url),
        "shown": storable(masked_url(url)),
        "url_sealed": box.seal(url, context=org),
    }


def _routes_column(routes: Sequence[Route]) -> list[dict[str, Any]]:
    if len(routes) > ROUTES_MAX:
        raise DestinationError(f"a destination has at most {ROUTES_MAX} routes")
    return [route.model_dump(mode="json") for route in routes]


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > NAME_MAX or not name.isprintable():
        rule = Translatable("the name of a destination is 1 to {most} printable characters", most=NAME_MAX)
        raise DestinationError(rule, field="name")
    return name


def _named(org: str, name: str, owner: str) -> tuple[Any, ...]:
    return destination.c.org == org, destination.c.name == name, destination.c.owner == owner
