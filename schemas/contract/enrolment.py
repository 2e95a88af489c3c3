"""Enrolment of a machine, and the token that permits it.

    dashfleet agent enrol: token → connect as the token's own principal → EnrolRequest → EnrolAnswer → a machine

Invariants:
- The machine generates its secret and sends only the hash (`broker.access.credentials`): the secret is never sent or
  stored elsewhere.
- Requests are idempotent by nonce: a repeated request gets the same answer, and one use of a token makes one machine.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from pydantic import Field

from schemas.contract.commands import OrgName
from schemas.contract.messages import ContractModel, Identifier, Milliseconds, Payload, RandomId, SecretHash
from schemas.contract.signing import PublicKey
from schemas.contract.text import Text, Title
from schemas.contract.topics import ORG_MAX_LENGTH, is_id

SECRET_LENGTH = 43


class EnrolRequest(Payload):
    """Request of a machine to enrol. `machine` is the preferred id; `hardware_id` is null when unknown."""

    nonce: RandomId
    machine: Identifier
    hostname: Text
    hardware_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    secret_hash: SecretHash


class EnrolledKey(ContractModel):
    """A public key whose orders the machine obeys, until `expires_at` (null: no end)."""

    public_key: PublicKey
    name: Title = ""
    expires_at: Milliseconds | None = None


class EnrolAnswer(Payload):
    """Answer to the request with this nonce: the assigned id, or null and the reason in `refused`.

    `detail` is a sentence that names the invalid field of a request that is refused as `invalid`.
    """

    nonce: RandomId
    machine: Identifier | None = None
    refused: Literal["", "used-up", "expired", "too-many", "invalid"] = ""
    detail: Text = ""
    keys: Annotated[tuple[EnrolledKey, ...], Field(max_length=64, strict=False)] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """An enrolment token, written `ORG.NAME.SECRET`. `name` is the principal's name in its organisation."""

    org: OrgName
    name: str
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the token in a text. Raises ValueError with a sentence for any other text."""
        org, _, rest = text.strip().partition(".")
        name, _, secret = rest.partition(".")
        if not is_id(org, ORG_MAX_LENGTH) or not is_id(name) or len(secret) != SECRET_LENGTH:
            raise ValueError("not a token: expected ORG.NAME.SECRET, as printed by `dashfleet token create`")
        return cls(org, name, secret)

    def __str__(self) -> str:
        return f"{self.org}.{self.name}.{self.secret}"

    def __repr__(self) -> str:
        return f"Token({self.org}.{self.name}.…)"
