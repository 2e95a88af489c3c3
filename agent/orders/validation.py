"""Validation of an order, before anything runs. A failed check is a `rejected` result with a code and a sentence.

    signature → organisation and machine → journal → issue and expiry → allow-list → arguments

Invariants:
- Nothing in an order is trusted before a trusted key is found to have signed it. Only then, and only if the order is
  for this machine, is its rejection stored in the journal.
- A known order is answered from the journal even when it has expired meanwhile: that is its outcome.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from agent.action import Action, Arguments
from agent.orders.journal import FUTURE_MILLISECONDS
from agent.orders.trusted_keys import TrustedKeys
from runtime.clock import Clock
from runtime.sentences.validation_errors import first_sentence
from runtime.settings.agent import AgentSettings
from schemas.contract.commands import Order
from schemas.contract.messages import Signed
from schemas.contract.signing import SignatureError

_ID = re.compile(r'"id"\s*:\s*"([0-9a-f]{32})"')

RejectionReason = Literal["signature", "target", "expired", "future", "journal", "not-allowed", "arguments", "busy"]


class OrderRejected(Exception):  # noqa: N818 - a verdict, not a defect
    """The order may not run. `order` is set when a trusted key has certainly issued it to this machine, and `action`
    when a trusted key has signed it.
    """

    def __init__(
        self,
        reason: RejectionReason,
        detail: str,
        *,
        id_: str | None = None,
        action: str | None = None,
        order: Order | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.order = order
        self.id = order.id if order is not None else id_
        self.action = order.action if order is not None else action


class OrderValidation:
    """The checks of one machine. Each raises OrderRejected."""

    def __init__(
        self, settings: AgentSettings, actions: Mapping[str, Action[Any]], keys: TrustedKeys, clock: Clock
    ) -> None:
        self._settings = settings
        self._actions = actions
        self._keys = keys
        self._clock = clock

    def authenticate(self, signed: Signed) -> Order:
        """Return the order, if a trusted key has issued it to this machine."""
        try:
            order = self._keys.open(signed, Order, self._clock.now())
        except SignatureError as error:
            raise OrderRejected("signature", str(error), id_=_claimed_id(signed)) from None
        if (order.org, order.machine) != (self._settings.org, self._settings.machine):
            raise OrderRejected("target", "the order is for another machine", id_=order.id, action=order.action)
        return order

    def require_issued(self, order: Order) -> None:
        """Reject an order whose time of issue is in the future."""
        if order.issued_at > self._clock.now() + FUTURE_MILLISECONDS:
            raise OrderRejected("future", "the order was issued in the future of this machine's clock", order=order)

    def require_alive(self, order: Order) -> None:
        """Reject an order that has expired."""
        if order.expires_at <= self._clock.now():
            raise OrderRejected("expired", "the order expired before it could run", order=order)

    def authorize(self, order: Order) -> tuple[Action[Any], Arguments]:
        """Return the action and its arguments, if the machine allows both."""
        action = self._actions.get(order.action) if order.action in self._settings.allowed_actions else None
        if action is None:
            raise OrderRejected("not-allowed", f"this machine does not allow the action {order.action}", order=order)
        try:
            arguments = action.arguments.model_validate(order.arguments)
            if action.check is not None:
                action.check(arguments, self._settings)
        except ValidationError as error:
            raise OrderRejected("arguments", first_sentence(error), order=order) from None
        except ValueError as error:
            raise OrderRejected("arguments", str(error), order=order) from None
        return action, arguments


def _claimed_id(signed: Signed) -> str | None:
    """Return the id that an unverified order claims, so that its rejection can be matched; it proves nothing."""
    found = _ID.search(signed.statement)
    return found and found[1]
