"""The private key of a run. In a module of its own, as PyNaCl is an extra."""

from dataclasses import dataclass

from schemas.contract.commands import Order
from schemas.contract.messages import ContractModel, Signed
from schemas.contract.signing import KeyChange, SignatureError, new_key, open_signed, public_key, sign


@dataclass(frozen=True)
class SeedSigner:
    """A key by its seed, 64 hex digits; see `broker.conformance.agent_orders`."""

    seed: str

    def sign(self, statement: ContractModel) -> Signed:
        """Sign a statement."""
        return sign(statement, self.seed)

    def new(self) -> "SeedSigner":
        """Return another, new key."""
        return SeedSigner(new_key())

    def public(self) -> str:
        """Return the public key, 64 hex digits."""
        return public_key(self.seed)

    def change(self, change: str, key: "SeedSigner", org: str, at: int) -> Signed:
        """Return a KeyChange, signed with this key: `add` or `revoke` of another one."""
        statement = {"change": change, "org": org, "public_key": key.public(), "name": "conform", "at": at}
        return self.sign(KeyChange.model_validate(statement))

    def has_signed(self, signed: Signed) -> bool:
        """Return whether this key has signed an order."""
        try:
            open_signed(signed, self.public(), Order)
        except SignatureError:
            return False
        return True
