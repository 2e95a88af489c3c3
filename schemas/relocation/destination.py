"""The server that the action `move` takes a machine to, as `dashfleet move import` writes it and a machine reads it.

Invariant: nothing in it is secret. The machine keeps its secret, of which the new server has the record.
"""

import ssl
from typing import Annotated

from pydantic import Field, ValidationError, field_validator

from runtime.sentences.validation_errors import first_sentence
from runtime.settings.address import ServerAddress, ServerUrl
from schemas.contract.commands import OrgName
from schemas.contract.enrolment import EnrolledKey
from schemas.contract.messages import ContractModel

DESTINATION_MAX = 32 << 10
"""Maximum length of the text of a destination, in characters."""


class MoveDestination(ContractModel):
    """A server: the broker's URL, the organisation there, and the keys whose orders the machine obeys there.

    `ca` is the CA certificate to trust, PEM; null for the CA certificates of the system.
    """

    server: ServerUrl
    org: OrgName
    ca: str | None = None
    keys: Annotated[tuple[EnrolledKey, ...], Field(min_length=1, max_length=64, strict=False)]

    @field_validator("ca")
    @classmethod
    def _require_certificates(cls, text: str | None) -> str | None:
        try:
            if text is not None:
                ssl.create_default_context(cadata=text)
        except (ssl.SSLError, ValueError):  # ValueError: not ASCII, or empty
            raise ValueError("it is no certificate in PEM format") from None
        return text

    @property
    def address(self) -> ServerAddress:
        """The parsed URL of the broker."""
        return ServerAddress.parse(self.server)

    @classmethod
    def read(cls, text: str) -> "MoveDestination":
        """Return the destination in a text. Raises ValueError with a sentence."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ValueError(
                "the destination must be the text that dashfleet move import writes on the new server "
                f"({first_sentence(error)})"
            ) from None
