"""What travels when a machine enrols, and the token that lets it.

    dashfleet agent enrol: token → connect as the token's own principal → EnrolRequest → EnrolAnswer → a machine

Invariants:
- The machine makes its own secret and sends only the record of it (`broker.access.credentials`), so that no secret of a
  machine ever travels or is stored anywhere else.
- A request may come again, with the same nonce, and gets the same answer: one token use makes one machine.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from pydantic import Field

from schemas.contract.commands import OrgName
from schemas.contract.messages import ContractModel, Identifier, Milliseconds, Payload, RandomId, SecretHash, Text
from schemas.contract.signing import PublicKey
from schemas.contract.topics import ORG_MAX_LENGTH, is_id

SECRET_LENGTH = 43


class EnrolRequest(Payload):
    """A machine asks for a place. `machine` is the id it would like; it gets another one when that is taken."""

    nonce: RandomId
    machine: Identifier
    hostname: Text
    hardware_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    secret_hash: SecretHash


class EnrolledKey(ContractModel):
    """A public key whose orders the machine is to obey."""

    public_key: PublicKey
    name: Annotated[str, Field(max_length=64)] = ""
    expires_at: Milliseconds | None = None


class EnrolAnswer(Payload):
    """The answer to the request with this nonce: the machine's id, or why there is none."""

    nonce: RandomId
    machine: Identifier | None = None
    refused: Literal["", "used-up", "expired", "too-many"] = ""
    keys: Annotated[tuple[EnrolledKey, ...], Field(max_length=64, strict=False)] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """What `dashfleet token create` prints: `ORG.NAME.SECRET`. `name` is the principal's name in its organisation."""

    org: OrgName
    name: str
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with a sentence when it is not a token."""
        org, _, rest = text.strip().partition(".")
        name, _, secret = rest.partition(".")
        if not is_id(org, ORG_MAX_LENGTH) or not is_id(name) or len(secret) != SECRET_LENGTH:
            raise ValueError(
                "that is not a token: it looks like ORG.NAME.SECRET, as `dashfleet token create` prints it"
            )
        return cls(org, name, secret)

    def __str__(self) -> str:
        return f"{self.org}.{self.name}.{self.secret}"

    def __repr__(self) -> str:
        return f"Token({self.org}.{self.name}.…)"
