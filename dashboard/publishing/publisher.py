"""Publishing of signed requests, and live readings, over one connection that one thread keeps for all pages.

Invariants:
- A page hands a request over and continues; it reads the outcome from the database.
- `unavailable` tells in advance why no request can be published, and what to do.
- A private key is read when a request is signed, and is not kept in memory.
- The role is checked here too, whatever the page showed.
"""

import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from broker.client import request_client as requests
from broker.client.live_client import LiveClient, LiveView
from broker.client.mqtt import Mqtt
from broker.client.request_client import DASHBOARD, RequestClient
from broker.client.socket_waiter import SocketWaiter
from broker.client.sockets import ClientContext
from broker.client.transport import Transport
from dashboard.auth.users import UserRole
from dashboard.i18n.language import _, marked
from runtime.clock import Clock
from runtime.errors import UserError
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.secret_files import read_secret
from schemas.contract.administration import Administration, ChangeKeys, RetireMachine
from schemas.contract.alerts import AlertChange
from schemas.contract.commands import Act, Order, Request, Rollout
from schemas.contract.signing import KeyChange, key_id, public_key, sign

MAY_ACT: Final = frozenset((UserRole.OPERATOR, UserRole.ADMIN))
MAY_ADMINISTER: Final = frozenset((UserRole.ADMIN,))
CHANGE_MILLISECONDS: Final = 60_000
"""How long the request for a settings change is retried without an answer."""

_OPERATED: Final = (RetireMachine, *get_args(AlertChange))
"""Changes that operators may request too."""

_STEP_SECONDS: Final = 0.1
_IDLE_SECONDS: Final = 1.0
"""Longest wait of the thread while there is nothing to send: how late a keep-alive or a renewal can be."""

_FLUSH_SECONDS: Final = 1.0
_CANCEL_MILLISECONDS: Final = 600_000

_READ_ONLY: Final = marked(
    "This dashboard has no broker credential, so it is read-only: its settings password and password_file provide one."
)
_NO_KEY: Final = marked(
    "There is no key here to sign actions for {org}, and machines obey no unsigned ones. "
    "On the dashboard's machine run: dashfleet key create --org {org}"
)
_NO_BROKER: Final = marked("The broker cannot be reached, so no request can be sent now: {why}.")
_CONNECTING: Final = marked("Connecting to the broker: try again in a moment.")
_ENDED: Final = marked("The connection to the broker has ended for good: restart the dashboard.")
_REFUSED: Final = marked("The broker does not let this dashboard run actions: {why}.")
_ONLY_OPERATORS: Final = marked("Only operators and admins may run actions.")
_ONLY_ADMINS: Final = marked("Only admins may change this.")
_BAD_KEY: Final = marked("The signing key cannot be used: {why}.")

_log = logging.getLogger(__name__)


class NotAllowedError(Exception):
    """A request is not allowed for this user, or not possible now; the message is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class SentBatch:
    """A published batch: its orders, and the ids of the orders in each request."""

    batch: str
    orders: tuple[Order, ...]
    requests: Mapping[str, tuple[str, ...]]


class Publisher:
    """Publishes for all pages. `transport` is None if the dashboard has no credential; `keys` holds a file per org."""

    def __init__(
        self,
        transport: Transport | None,
        clock: Clock,
        *,
        keys: Path | None,
        tls: ClientContext | None = None,
        waiter: SocketWaiter | None = None,
    ) -> None:
        self._transport = transport
        self._live = LiveClient(DASHBOARD, clock=clock, base=RequestClient.subscriptions(DASHBOARD))
        self._client: RequestClient | None = None
        if transport is not None:
            self._client = RequestClient(transport, DASHBOARD, clock=clock, other=self._live.handle)
        self._clock = clock
        self._keys = keys
        self._tls = tls
        self._waiter = waiter
        self._queue: queue.SimpleQueue[tuple[str, Request, int]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @classmethod
    def of(cls, settings: DashboardSettings, clock: Clock) -> "Publisher":
        """Build from the settings; without a secret in them it cannot publish. Raises SettingsError."""
        keys, transport = settings.signing_keys, _transport(settings)
        if transport is None:
            return cls(None, clock, keys=keys)
        return cls(transport, clock, keys=keys, tls=transport.tls, waiter=SocketWaiter(lambda: transport.socket))

    def start(self) -> None:
        """Connect, and stay connected."""
        if self._client is not None:
            self._thread.start()

    def stop(self) -> None:
        """Send the queued requests and disconnect."""
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(5.0)
        if self._waiter is not None and not self._thread.is_alive():
            self._waiter.close()

    @property
    def certificate_end(self) -> int | None:
        """The end of the broker's certificate in milliseconds; None without TLS or before the first connection."""
        return self._tls.certificate_end or None if self._tls is not None else None

    def unavailable(self, org: str) -> str:
        """Return why no action can be run in this organisation now; empty if one can."""
        if self._client is None:
            return _(_READ_ONLY)
        try:
            self._seed(org)
        except NotAllowedError as error:
            return str(error)
        return self.unreachable()

    def unreachable(self) -> str:
        """Return why no request can be sent now, not even one that needs no signing key; empty if one can."""
        if self._client is None:
            return _(_READ_ONLY)
        if self._thread.ident is not None and not self._thread.is_alive():
            return _(_ENDED)
        if self._client.refused:
            return _(_REFUSED, why=self._client.refused)
        if self._client.connected:
            return ""
        return _(_NO_BROKER, why=self._client.trouble) if self._client.trouble else _(_CONNECTING)

    def look(self, org: str, machine: str) -> LiveView:
        """Look at a machine's live readings for some seconds; see `LiveClient`."""
        view = self._live.look(org, machine)
        self._wake()
        return view

    def key(self, org: str) -> str:
        """Return the id of the key that signs for an organisation. Raises NotAllowedError."""
        return key_id(public_key(self._seed(org)))

    def act(
        self,
        org: str,
        arguments: Mapping[str, Mapping[str, Any]],
        action: str,
        *,
        role: UserRole,
        actor: str,
        lifetime_seconds: float,
        rollout: Rollout | None = None,
    ) -> SentBatch:
        """Run an action with these arguments, by machine. Raises NotAllowedError."""
        self._require(org, role)
        now = self._clock.now()
        orders = [
            order
            for machine, given in arguments.items()
            for order in requests.orders([machine], action, given, org=org, now=now, lifetime_seconds=lifetime_seconds)
        ]
        asked = requests.act(orders, self._seed(org), actor=actor, rollout=rollout)
        for request in asked:
            self._send(org, request, until=orders[0].expires_at)
        return _sent(orders, asked)

    def cancel(self, org: str, commands: Sequence[str], *, role: UserRole, actor: str) -> None:
        """Cancel commands that are still queued. Raises NotAllowedError."""
        self._require(org, role)
        for request in requests.cancel(commands, actor=actor):
            self._send(org, request, until=self._clock.now() + _CANCEL_MILLISECONDS)

    def administer(self, org: str, change: Administration, *, role: UserRole, actor: str) -> str:
        """Request a change of the organisation and return the request's id. Raises NotAllowedError.

        Operators may only retire a machine, so that one that misbehaves can be cut off at any time, and acknowledge and
        silence alerts; everything else decides whom the fleet trusts and is for admins.
        """
        if role not in MAY_ADMINISTER and not (isinstance(change, _OPERATED) and role in MAY_ACT):
            raise NotAllowedError(_(_ONLY_ADMINS))
        why = self.unreachable()
        if why:
            raise NotAllowedError(why)
        request = requests.administer(change, actor=actor)
        self._send(org, request, until=self._clock.now() + CHANGE_MILLISECONDS)
        return request.id

    def key_change(self, change: KeyChange, *, role: UserRole) -> ChangeKeys:
        """Sign a change of an organisation's keys with the key that is held here. Raises NotAllowedError."""
        if role not in MAY_ADMINISTER:
            raise NotAllowedError(_(_ONLY_ADMINS))
        return ChangeKeys(change=sign(change, self._seed(change.org)))

    def _require(self, org: str, role: UserRole) -> None:
        if role not in MAY_ACT:
            raise NotAllowedError(_(_ONLY_OPERATORS))
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
            raise NotAllowedError(_(_BAD_KEY, why=_("{file} contains no key", file=path))) from None
        return seed

    def _send(self, org: str, request: Request, *, until: int) -> None:
        self._queue.put((org, request, until))
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.wake()

    def _run(self) -> None:
        client, transport = self._client, self._transport
        if client is None or transport is None:
            return
        trouble, last = "", False
        while not last:
            last = self._stopping.is_set()
            while not self._queue.empty():
                org, request, until = self._queue.get()
                client.send(org, request, until=until)
            self._live.step(transport)
            if self._waiter is None or client.pending or not client.connected:
                client.step(_STEP_SECONDS)
            else:
                self._waiter.wait(_IDLE_SECONDS)
                client.step(0.0)
            if client.trouble != trouble:
                trouble = client.trouble
                _log.warning("the broker: %s", trouble or "connected again")
        transport.flush(_FLUSH_SECONDS)
        transport.close()


def _sent(orders: Sequence[Order], asked: Sequence[Request]) -> SentBatch:
    batch = next((request.change.batch for request in asked if isinstance(request.change, Act)), "")
    return SentBatch(batch, tuple(orders), requests.carried(orders, asked))


def _transport(settings: DashboardSettings) -> Mqtt | None:
    """Build the connection to the broker; None if the settings have no secret. Raises SettingsError."""
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
