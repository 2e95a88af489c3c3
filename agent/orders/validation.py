"""What is checked before anything runs. Each check that fails is a `rejected` result with a code and a sentence.

    signature → organisation and machine → journal → issue and expiry → allow-list → arguments

Invariants:
- Nothing of an order is believed before its signature fits a key that is held; then only, and only if it is for this
  machine, is a refusal worth a place in the journal.
- An order that is known is answered from the journal even when it has expired meanwhile: that is its outcome.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import ValidationError

from agent.action import Action, Arguments
from agent.orders.journal import FUTURE_MILLISECONDS
from agent.orders.trusted_keys import Keys
from runtime.settings.agent import AgentSettings
from schemas.contract.commands import Order
from schemas.contract.messages import Signed
from schemas.contract.signing import SignatureError

_ID = re.compile(r'"id"\s*:\s*"([0-9a-f]{32})"')

Reason = Literal["signature", "target", "expired", "future", "journal", "not-allowed", "arguments"]


class Refused(Exception):  # noqa: N818 - not an error
    """The order may not run. `order` is set when a key that is obeyed has certainly issued it to this machine."""

    def __init__(self, reason: Reason, detail: str, *, id_: str | None = None, order: Order | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.order = order
        self.id = order.id if order is not None else id_


class Orders:
    """The checks of one machine. `now`: milliseconds of its clock."""

    def __init__(
        self, settings: AgentSettings, actions: Mapping[str, Action[Any]], keys: Keys, *, now: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._actions = actions
        self._keys = keys
        self._now = now

    def authentic(self, signed: Signed) -> Order:
        """The order, if a key that is obeyed has issued it to this machine. Raises Refused."""
        try:
            order = self._keys.open(signed, Order, self._now())
        except SignatureError as error:
            raise Refused("signature", str(error), id_=_claimed_id(signed)) from None
        if (order.org, order.machine) != (self._settings.org, self._settings.machine):
            raise Refused("target", "the order is for another machine", id_=order.id)
        return order

    def require_issued(self, order: Order) -> None:
        """Raises Refused when the order's beginning lies in the future."""
        if order.issued_at > self._now() + FUTURE_MILLISECONDS:
            raise Refused("future", "the order was issued in the future of this machine's clock", order=order)

    def require_alive(self, order: Order) -> None:
        """Raises Refused when the order has expired."""
        if order.expires_at <= self._now():
            raise Refused("expired", "the order expired before it could run", order=order)

    def admitted(self, order: Order) -> tuple[Action[Any], Arguments]:
        """The action that the order asks for, and its arguments, if both are allowed. Raises Refused."""
        action = self._actions.get(order.action) if order.action in self._settings.allowed_actions else None
        if action is None:
            raise Refused("not-allowed", f"this machine does not allow the action {order.action}", order=order)
        try:
            arguments = action.arguments.model_validate(order.arguments)
            if action.check is not None:
                action.check(arguments, self._settings)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
            place = ".".join(map(str, problem["loc"]))[:200]
            raise Refused("arguments", f"{place}: {problem['msg']}", order=order) from None
        except ValueError as error:
            raise Refused("arguments", str(error), order=order) from None
        return action, arguments


def _claimed_id(signed: Signed) -> str | None:
    """The id that an order says it has, so that its refusal can be told from others; it proves nothing."""
    found = _ID.search(signed.statement)
    return found and found[1]
