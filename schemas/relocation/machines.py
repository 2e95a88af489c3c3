"""The machines that another server is to accept, as `dashfleet move export` writes them and `move import` reads them.

Invariant: a record lets a broker verify a secret, and is not the secret.
"""

from typing import Annotated

from pydantic import Field, ValidationError

from schemas.contract.commands import OrgName
from schemas.contract.messages import ContractModel, Identifier, SecretHash

MACHINES_MAX = 100_000


class MovingMachine(ContractModel):
    """A machine, and the records of its secret. `bcrypt` is the one for NATS; null without one."""

    machine: Identifier
    secret_hash: SecretHash
    bcrypt: Annotated[str, Field(pattern=r"^\$2[aby]\$[./A-Za-z0-9$]{56,64}$")] | None = None


class MovingMachines(ContractModel):
    """Machines of an organisation of the old server."""

    org: OrgName
    machines: Annotated[tuple[MovingMachine, ...], Field(min_length=1, max_length=MACHINES_MAX, strict=False)]

    @classmethod
    def read(cls, text: str) -> "MovingMachines":
        """Return the machines in a text. Raises ValueError with a sentence."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            place = ".".join(map(str, error.errors(include_input=False)[0]["loc"])) or "JSON"
            raise ValueError(f"it is not a file of dashfleet move export ({place} is wrong)") from None
