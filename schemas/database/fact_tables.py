"""Tables of facts: the lists that machines state, their items, and what changed in them.

Invariants:
- Those of `schemas.database.tables`.
- An item belongs to a list, a row of `fact_list` with the same machine and kind. Replacing a list replaces its items in
  the same transaction.
- A machine has at most `schemas.contract.facts.FACT_KINDS_MAX` lists. The rows in `fact_change` of a machine and day
  are bounded (`ingestor.storage.fact_store`).
"""

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, String, Table

from schemas.database.columns import BigId
from schemas.database.metadata import metadata

fact_list = Table(
    "fact_list",
    metadata,
    Column("machine_id", ForeignKey("machine.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("kind", String(63), primary_key=True, comment="last level of the topic"),
    Column("session", BigInteger, nullable=False),
    Column("stated_at", BigInteger, nullable=False, comment="`at` of the message, by the machine's clock"),
    Column("known_at", BigInteger, nullable=False, comment="the same by the server's clock"),
    Column("digest", String(32), nullable=False, comment="of the payload, to recognise repetitions"),
    Column("truncated", BigInteger, nullable=False, comment="items that the machine left out"),
)

fact = Table(
    "fact",
    metadata,
    Column("machine_id", ForeignKey("machine.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("kind", String(63), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("org_id", ForeignKey("org.id", ondelete="CASCADE"), nullable=False, comment="that of the machine"),
    Column("health", String(16), comment="schemas.contract.facts.Judgement; null: nothing to judge"),
    Column("rank", Integer, nullable=False, comment="schemas.contract.facts.RANKS of the health"),
    Column("fields", JSON, nullable=False),
    Column("since_at", BigInteger, nullable=False, comment="when it appeared, or health, a text or a flag changed"),
    Index("ix_fact_org_id_kind_rank", "org_id", "kind", "rank"),
)

fact_change = Table(
    "fact_change",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("machine_id", ForeignKey("machine.id", ondelete="CASCADE"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(63), nullable=False),
    Column("key", String(200), nullable=False, comment="empty: more changes than are recorded"),
    Column("change", String(16), nullable=False, comment="appeared, disappeared, changed, more"),
    Column("health_before", String(16)),
    Column("health_after", String(16)),
    Column("before", JSON, nullable=False, comment="fields that changed or disappeared, without numbers"),
    Column("after", JSON, nullable=False, comment="fields that changed or appeared, without numbers"),
    Column("times", Integer, nullable=False, server_default="1", comment="above 1 only with the change `more`"),
    Index("ix_fact_change_machine_id_at", "machine_id", "at"),
    Index("ix_fact_change_at", "at"),
)
