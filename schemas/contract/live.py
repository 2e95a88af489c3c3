"""Live readings: for as long as somebody looks at a machine, it publishes its readings every second.

A viewer asks the ingestor (`LiveRequest`), which answers (`LiveAnswer`) and grants a short lease (`LiveLease`).
The machine publishes `Live` until the lease ends.

Invariants:
- A lease ends by itself: its length is bounded, and the machine measures it with its monotonic clock from the arrival.
- Live readings are beside the ledger: they have no number, are not stored, and are no evidence of presence.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.contract.messages import Extra, Identifier, Milliseconds, Payload, RandomId, Session, Vitals

LIVE_SECONDS = 1.0
"""Time between two live readings."""

LEASE_SECONDS = 8.0
"""Length of the leases that the ingestor grants."""

LEASE_MAX_SECONDS = 15.0
"""Length of the longest lease that a machine accepts."""

REQUEST_SECONDS = 3.0
"""Time after which a viewer that still looks asks again, so that a lease outlasts a lost request."""

LeaseSeconds = Annotated[float, Field(gt=0, le=LEASE_MAX_SECONDS)]


class LiveRequest(Payload):
    """A request for live readings of a machine, repeated every 3 s for as long as somebody looks."""

    machine: Identifier


class LiveAnswer(Payload):
    """The answer to a LiveRequest: a lease of `seconds`, or null and why not.

    `unknown-machine`: there is none with this id, or it is retired. `too-many`: as many machines of the organisation as
    permitted are watched already. `invalid`: the request could not be read, so `machine` is null.
    """

    machine: Identifier | None = None
    seconds: LeaseSeconds | None = None
    refused: Literal["unknown-machine", "too-many", "invalid"] | None = None


class LiveLease(Payload):
    """A lease, retained on `down/watch` until it ends: the machine publishes Live for `seconds` from its arrival.

    `id` is another one in each message, so that a machine that receives a retained lease again does not extend it. An
    empty payload ends the lease at once.
    """

    id: RandomId
    seconds: LeaseSeconds


class Live(Payload):
    """Readings of this moment on `up/live`, published at QoS 0 while a lease lasts; they are not stored.

    `at` is the machine's clock. The metrics are those of a sample.
    """

    session: Session
    at: Milliseconds
    vitals: Vitals
    extra: Extra = Field(default={})
