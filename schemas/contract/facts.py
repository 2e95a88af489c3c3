"""Facts: lists with a key that a machine states, retained on `up/facts/{kind}` and published when they change.

A kind is a list such as `mounts`, `containers`, `services`, `checks` or `packages`. Its items have a key (a mount
point, a unit's name) and a few fields. Facts are not part of the ledger: a newer message replaces the older one.

Invariants:
- A message is at most FACTS_MAX_BYTES. What does not fit is left out and counted in `truncated`, the worst items last.
- An item that is no longer in the list has ceased to exist; an empty list means there are none.
- Within a session `at` increases from message to message of a kind; one that is not later is a repetition.
- A machine clears a kind that it no longer reports with an empty retained payload.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field

from schemas.contract.messages import ContractModel, Count, MetricName, Milliseconds, Payload, Reading, Session
from schemas.contract.text import Line, Text

FACTS_MAX_BYTES = 64 << 10
FACT_ITEMS_MAX = 512
FACT_FIELDS_MAX = 16
FACT_KINDS_MAX = 32
"""Kinds of facts of one machine."""

FactKey = Annotated[Line, Field(min_length=1, max_length=200)]
FactValue = Text | bool | Reading | None
Judgement = Literal["good", "fair", "critical", "unknown"]

NOT_COMPARED: Final = "output"
"""Field with the output of a program, such as a check's. It varies, so a difference in it alone is not a change."""

MOMENTARY: Final = frozenset({"processes"})
"""Kinds whose lists are of a moment, such as the top processes at a peak: nothing in them is a change."""

RANKS: Final[Mapping[str | None, int]] = {"critical": 0, "fair": 1, "unknown": 2, "good": 3, None: 4}
"""Place of an item by its health: the worst first. Where not all are shown or sent, the last are left out."""


class Fact(ContractModel):
    """An item of a list.

    `health` is the machine's judgement of the item, null where there is nothing to judge; readers show the worst items
    first. `fields` say more about it, by name as in a metric; the names of numbers end in their unit.
    """

    health: Judgement | None = None
    fields: Annotated[dict[MetricName, FactValue], Field(max_length=FACT_FIELDS_MAX)] = Field(default={})


class FactsMessage(Payload):
    """A list of a machine, retained on `up/facts/{kind}`. `at` is the machine's clock when it was read.

    `items` are the items by key, `truncated` is the number of items that were left out.
    """

    session: Session
    at: Milliseconds
    items: Annotated[dict[FactKey, Fact], Field(max_length=FACT_ITEMS_MAX)] = Field(default={})
    truncated: Count = 0
