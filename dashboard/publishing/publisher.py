"""What the dashboard publishes: signed requests, over one connection that one thread keeps for all pages.

Invariants:
- A page hands a request over and goes on; what becomes of it the page reads from the database.
- Whether anybody can act is known before they try: `unavailable` says why not, in a sentence that says what to do.
- A private key is read when something is signed and is not kept.
- Who may act is checked here too, whatever the page showed.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from broker.client import request_client as requests
from broker.client.mqtt import Mqtt
from broker.client.request_client import DASHBOARD, RequestClient
from broker.client.transport import Transport
from dashboard.auth.accounts import PersonRole
from dashboard.i18n.language import _, marked
from runtime.errors import UserError
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.secret_files import read_secret
from schemas.contract.administration import Administration, ChangeKeys, RetireMachine
from schemas.contract.commands import Act, Order, Request, Rollout
from schemas.contract.signing import KeyChange, key_id, public_key, sign

MAY_ACT: Final = frozenset((PersonRole.OPERATOR, PersonRole.ADMIN))
MAY_ADMINISTER: Final = frozenset((PersonRole.ADMIN,))
CHANGE_MILLISECONDS: Final = 60_000
"""How long a change of the organisation is asked for again, while nobody answers."""

_STEP_SECONDS: Final = 0.1
_FLUSH_SECONDS: Final = 1.0
_CANCEL_MILLISECONDS: Final = 600_000

_ONLY_LOOKS: Final = marked(
    "This dashboard has no credential for the broker, so it can only look: its settings password and password_file "
    "say where one comes from."
)
_NO_KEY: Final = marked(
    "There is no key here that signs orders for {org}, and machines obey no others. "
    "On the dashboard's machine run: dashfleet key create --org {org}"
)
_NO_BROKER: Final = marked("The broker cannot be reached, so nothing can be sent now: {why}.")
_CONNECTING: Final = marked("The connection to the broker is being made: try again in a moment.")
_ENDED: Final = marked("The connection to the broker has ended for good: start the dashboard again.")
_REFUSED: Final = marked("The broker does not let this dashboard act: {why}.")

_ONLY_ADMINS: Final = marked("Only admins may change this.")
_BAD_KEY: Final = marked("The key that signs orders cannot be used: {why}.")

_log = logging.getLogger(__name__)


class NotAllowedError(Exception):
    """Somebody may not act, or nobody can now; the message is a sentence for them."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was published: the orders with their commands' ids, and which of them each request carried."""

    batch: str
    orders: tuple[Order, ...]
    requests: Mapping[str, tuple[str, ...]]


class Publisher:
    """Publishes for all pages. `transport` is None when the dashboard has no credential."""

    def __init__(
        self,
        transport: Transport | None,
        *,
        keys: Path | None,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._client = None if transport is None else RequestClient(transport, DASHBOARD, now=now, monotonic=monotonic)
        self._keys = keys
        self._now = now
        self._asked: queue.SimpleQueue[tuple[str, Request, int]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @classmethod
    def of(cls, settings: DashboardSettings) -> "Publisher":
        """The publisher that the settings describe; one that cannot publish when they name no secret."""
        return cls(_transport(settings), keys=settings.signing_keys)

    def start(self) -> None:
        """Connect, and stay connected."""
        if self._client is not None:
            self._thread.start()

    def stop(self) -> None:
        """Disconnect, when what was handed over has been sent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def unavailable(self, org: str) -> str:
        """Why nobody can act on this organisation's machines now; empty when one can."""
        if self._client is None:
            return _(_ONLY_LOOKS)
        try:
            self._seed(org)
        except NotAllowedError as error:
            return str(error)
        return self.unreachable()

    def unreachable(self) -> str:
        """Why nothing can be asked for now, also what needs no key; empty when it can."""
        if self._client is None:
            return _(_ONLY_LOOKS)
        if self._thread.ident is not None and not self._thread.is_alive():
            return _(_ENDED)
        if self._client.refused:
            return _(_REFUSED, why=self._client.refused)
        if self._client.connected:
            return ""
        return _(_NO_BROKER, why=self._client.trouble) if self._client.trouble else _(_CONNECTING)

    def key(self, org: str) -> str:
        """The id of the key that signs for an organisation. Raises NotAllowedError."""
        return key_id(public_key(self._seed(org)))

    def act(
        self,
        org: str,
        machines: Sequence[str],
        action: str,
        arguments: Mapping[str, Any],
        *,
        role: PersonRole,
        actor: str,
        lifetime_seconds: float,
        rollout: Rollout,
    ) -> Sent:
        """Ask these machines to do something. Raises NotAllowedError."""
        same = dict.fromkeys(machines, arguments)
        return self.act_each(
            org, same, action, role=role, actor=actor, lifetime_seconds=lifetime_seconds, rollout=rollout
        )

    def act_each(
        self,
        org: str,
        wanted: Mapping[str, Mapping[str, Any]],
        action: str,
        *,
        role: PersonRole,
        actor: str,
        lifetime_seconds: float,
        rollout: Rollout | None = None,
    ) -> Sent:
        """Ask each of these machines for the same action, with arguments of its own. Raises NotAllowedError."""
        self._require(org, role)
        now = self._now()
        orders = [
            order
            for machine, arguments in wanted.items()
            for order in requests.orders(
                [machine], action, arguments, org=org, now=now, lifetime_seconds=lifetime_seconds
            )
        ]
        asked = requests.act(orders, self._seed(org), actor=actor, rollout=rollout)
        for request in asked:
            self._asked.put((org, request, orders[0].expires_at))
        return _sent(orders, asked)

    def cancel(self, org: str, commands: Sequence[str], *, role: PersonRole, actor: str) -> None:
        """Take commands back that were not sent yet. Raises NotAllowedError."""
        self._require(org, role)
        for request in requests.cancel(commands, actor=actor):
            self._asked.put((org, request, self._now() + _CANCEL_MILLISECONDS))

    def administer(self, org: str, change: Administration, *, role: PersonRole, actor: str) -> str:
        """Ask for a change of the organisation; returns the request's id. Raises NotAllowedError.

        Whoever acts on machines may also take one out of service; everything else is for admins.
        """
        if role not in MAY_ADMINISTER and not (isinstance(change, RetireMachine) and role in MAY_ACT):
            raise NotAllowedError(_(_ONLY_ADMINS))
        why = self.unreachable()
        if why:
            raise NotAllowedError(why)
        request = requests.administer(change, actor=actor)
        self._asked.put((org, request, self._now() + CHANGE_MILLISECONDS))
        return request.id

    def key_change(self, change: KeyChange, *, role: PersonRole) -> ChangeKeys:
        """A change of an organisation's keys, signed with the one that is held here. Raises NotAllowedError."""
        if role not in MAY_ADMINISTER:
            raise NotAllowedError(_(_ONLY_ADMINS))
        return ChangeKeys(change=sign(change, self._seed(change.org)))

    def _require(self, org: str, role: PersonRole) -> None:
        if role not in MAY_ACT:
            raise NotAllowedError(_("Only operators and admins may act."))
        why = self.unavailable(org)
        if why:
            raise NotAllowedError(why)

    def _seed(self, org: str) -> str:
        path = None if self._keys is None else self._keys / org
        if path is None or not path.exists():
            raise NotAllowedError(_(_NO_KEY, org=org))
        try:
            seed = read_secret(path)
            public_key(seed)
        except UserError as error:
            raise NotAllowedError(_(_BAD_KEY, why=error)) from None
        except ValueError:
            raise NotAllowedError(_(_BAD_KEY, why=_("{file} holds none", file=path))) from None
        return seed

    def _run(self) -> None:
        client, transport = self._client, self._transport
        if client is None or transport is None:
            return
        trouble, last = "", False
        while not last:
            last = self._stopping.is_set()
            while not self._asked.empty():
                org, request, until = self._asked.get()
                client.send(org, request, until=until)
            client.step(_STEP_SECONDS)
            if client.trouble != trouble:
                trouble = client.trouble
                _log.warning("the broker: %s", trouble or "connected again")
        transport.flush(_FLUSH_SECONDS)
        transport.close()


def _sent(orders: Sequence[Order], asked: Sequence[Request]) -> Sent:
    batch, carried, rest = "", {}, [order.id for order in orders]
    for request in asked:
        if isinstance(request.change, Act):
            count = len(request.change.orders)
            batch, carried[request.id], rest = request.change.batch, tuple(rest[:count]), rest[count:]
    return Sent(batch, tuple(orders), carried)


def _transport(settings: DashboardSettings) -> Transport | None:
    """The connection to the broker, or None when no secret was given. Raises SettingsError for one of no use."""
    path = settings.password_file
    if settings.password is None and (path is None or not path.exists()):
        return None
    return Mqtt(
        settings.address,
        username=DASHBOARD.username,
        password=settings.secret(),
        subscriptions=RequestClient.subscriptions(DASHBOARD),
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=settings.ca_file,
    )


PUBLISHERS: Final[dict[str, Publisher]] = {}
"""Those of this process by a name of their own: Streamlit hands a page nothing but plain values, such as that name."""
