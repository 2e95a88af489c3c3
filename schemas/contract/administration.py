"""What an admin asks of the ingestor: changes of an organisation, as they travel in a request beside Act and Cancel.

Invariants:
- Each is about the organisation of the topic that it came on, and names nothing of another.
- Who asks makes a secret, and sends the record of it (`broker.access.credentials`): no secret travels or is stored.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.contract.messages import ContractModel, Identifier, MetricName, Reading, SecretHash, Signed

TOKEN_USES_MAX = 10_000
TOKEN_LIFE_MAX_SECONDS = 30 * 86_400
OVERLAP_MAX_SECONDS = 30 * 86_400


class ConfigureOrg(ContractModel):
    """Change these settings, by their names in `schemas.fleet.organisation`; the others stay."""

    kind: Literal["configure-org"] = "configure-org"
    settings: Annotated[dict[MetricName, int | Reading], Field(min_length=1, max_length=64)]


class AddToken(ContractModel):
    """Let so many machines enrol with a token of this name, within so many seconds from its arrival."""

    kind: Literal["add-token"] = "add-token"
    name: Identifier
    secret_hash: SecretHash
    uses: Annotated[int, Field(ge=1, le=TOKEN_USES_MAX)]
    lifetime_seconds: Annotated[int, Field(ge=1, le=TOKEN_LIFE_MAX_SECONDS)]


class RevokeToken(ContractModel):
    """End a token. The machines that it made stay."""

    kind: Literal["revoke-token"] = "revoke-token"
    name: Identifier


class AddPrincipal(ContractModel):
    """Let a program connect, as `{org}._{name}`."""

    kind: Literal["add-principal"] = "add-principal"
    name: Identifier
    role: Literal["reader", "operator"]
    secret_hash: SecretHash


class RotatePrincipal(ContractModel):
    """Give a program another secret; the one before stays good for a while."""

    kind: Literal["rotate-principal"] = "rotate-principal"
    name: Identifier
    secret_hash: SecretHash
    overlap_seconds: Annotated[int, Field(ge=0, le=OVERLAP_MAX_SECONDS)] = 0


class RevokePrincipal(ContractModel):
    """Let a program connect no more."""

    kind: Literal["revoke-principal"] = "revoke-principal"
    name: Identifier


class RetireMachine(ContractModel):
    """Take a machine out of service: it connects no more, and nothing that arrives of it counts."""

    kind: Literal["retire-machine"] = "retire-machine"
    machine: Identifier


class ReinstateMachine(ContractModel):
    """Take a machine back that was retired, with the secret that it had."""

    kind: Literal["reinstate-machine"] = "reinstate-machine"
    machine: Identifier


class ChangeKeys(ContractModel):
    """Have machines obey another key, or one no more: a `schemas.contract.signing.KeyChange`, signed by a key that
    is in force."""

    kind: Literal["change-keys"] = "change-keys"
    change: Signed


Administration = (
    ConfigureOrg
    | AddToken
    | RevokeToken
    | AddPrincipal
    | RotatePrincipal
    | RevokePrincipal
    | RetireMachine
    | ReinstateMachine
    | ChangeKeys
)
"""Any of them; `kind` tells which."""
