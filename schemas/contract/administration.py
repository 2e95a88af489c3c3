"""Administrative changes of an organisation, which a request can contain beside Act and Cancel.

Invariants:
- A change affects only the organisation of its topic.
- The requester generates secrets and sends their hash (`broker.access.credentials`): no secret is sent or stored.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.contract.alert_rules import AlertRule
from schemas.contract.alerts import AlertChange
from schemas.contract.messages import ContractModel, Identifier, MetricName, Milliseconds, Reading, SecretHash, Signed

TOKEN_USES_MAX = 10_000
TOKEN_LIFE_MAX_SECONDS = 30 * 86_400
OVERLAP_MAX_SECONDS = 30 * 86_400


class ConfigureOrg(ContractModel):
    """Change these settings, named as in `schemas.fleet.organisation`; the others stay."""

    kind: Literal["configure-org"] = "configure-org"
    settings: Annotated[dict[MetricName, int | Reading], Field(min_length=1, max_length=64)]


class AddToken(ContractModel):
    """Create an enrolment token for `uses` machines, valid for `lifetime_seconds` after its arrival."""

    kind: Literal["add-token"] = "add-token"
    name: Identifier
    secret_hash: SecretHash
    uses: Annotated[int, Field(ge=1, le=TOKEN_USES_MAX)]
    lifetime_seconds: Annotated[int, Field(ge=1, le=TOKEN_LIFE_MAX_SECONDS)]


class RevokeToken(ContractModel):
    """Revoke a token. Machines enrolled with it stay."""

    kind: Literal["revoke-token"] = "revoke-token"
    name: Identifier


class AddPrincipal(ContractModel):
    """Create the credential of a program, which connects as `{org}._{name}`."""

    kind: Literal["add-principal"] = "add-principal"
    name: Identifier
    role: Literal["reader", "operator"]
    secret_hash: SecretHash


class RotatePrincipal(ContractModel):
    """Replace the secret of a program; the previous one is accepted for `overlap_seconds`."""

    kind: Literal["rotate-principal"] = "rotate-principal"
    name: Identifier
    secret_hash: SecretHash
    overlap_seconds: Annotated[int, Field(ge=0, le=OVERLAP_MAX_SECONDS)] = 0


class RevokePrincipal(ContractModel):
    """Revoke the credential of a program."""

    kind: Literal["revoke-principal"] = "revoke-principal"
    name: Identifier


class RetireMachine(ContractModel):
    """Retire a machine: it cannot connect, and its messages are rejected."""

    kind: Literal["retire-machine"] = "retire-machine"
    machine: Identifier


class ReinstateMachine(ContractModel):
    """Reinstate a retired machine with its previous secret."""

    kind: Literal["reinstate-machine"] = "reinstate-machine"
    machine: Identifier


class ChangeKeys(ContractModel):
    """Add or revoke a signing key: a `schemas.contract.signing.KeyChange`, signed by a key in force."""

    kind: Literal["change-keys"] = "change-keys"
    change: Signed


class ClearDeadLetters(ContractModel):
    """Delete the dead letters of the organisation, or of one of its machines, that arrived until then (null: all)."""

    kind: Literal["clear-dead-letters"] = "clear-dead-letters"
    machine: Identifier | None = None
    until: Milliseconds | None = None


class SetRule(ContractModel):
    """Add an alert rule, or replace the one with its name. A rule that changes ends its active alerts."""

    kind: Literal["set-rule"] = "set-rule"
    rule: AlertRule


class DeleteRule(ContractModel):
    """Remove an alert rule. Its active alerts end."""

    kind: Literal["delete-rule"] = "delete-rule"
    name: Identifier


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
    | ClearDeadLetters
    | AlertChange
    | SetRule
    | DeleteRule
)
"""Any administrative change, discriminated by `kind`."""
