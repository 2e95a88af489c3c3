"""The machines that are compared, as the address has them. Pure."""

from collections.abc import Sequence
from typing import Final

from schemas.contract.topics import is_id

MACHINES_MIN: Final = 2
MACHINES_MAX: Final = 6
"""Number of colours of lines."""


def parse(text: str) -> list[str]:
    """Return the ids of machines in an address, at most MACHINES_MAX; others are left out."""
    return [name for name in dict.fromkeys(text.split(",")) if is_id(name)][:MACHINES_MAX]


def address(names: Sequence[str]) -> dict[str, str]:
    """Return the query of the address that compares these machines."""
    return {"ids": ",".join(names)}


def is_comparable(names: Sequence[str]) -> bool:
    """Return True if the number of machines is within the limits."""
    return MACHINES_MIN <= len(names) <= MACHINES_MAX
