"""Create the tables of facts."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "fact_list",
        _machine(primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(63), primary_key=True, comment="last level of the topic"),
        sa.Column("session", sa.BigInteger, nullable=False),
        sa.Column("stated_at", sa.BigInteger, nullable=False, comment="`at` of the message, by the machine's clock"),
        sa.Column("known_at", sa.BigInteger, nullable=False, comment="the same by the server's clock"),
        sa.Column("digest", sa.String(32), nullable=False, comment="of the payload, to recognise repetitions"),
        sa.Column("truncated", sa.BigInteger, nullable=False, comment="items that the machine left out"),
    )
    op.create_table(
        "fact",
        _machine(primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(63), primary_key=True),
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column(
            "org_id",
            sa.Integer,
            sa.ForeignKey("org.id", ondelete="CASCADE"),
            nullable=False,
            comment="that of the machine",
        ),
        sa.Column("health", sa.String(16), comment="schemas.contract.facts.Judgement; null: nothing to judge"),
        sa.Column("rank", sa.Integer, nullable=False, comment="schemas.contract.facts.RANKS of the health"),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column(
            "since_at", sa.BigInteger, nullable=False, comment="when it appeared, or health, a text or a flag changed"
        ),
    )
    op.create_index("ix_fact_org_id_kind_rank", "fact", ["org_id", "kind", "rank"])
    _create_changes()


def downgrade() -> None:
    for table in ("fact_change", "fact", "fact_list"):
        op.drop_table(table)


def _create_changes() -> None:
    op.create_table(
        "fact_change",
        sa.Column("id", BigId, primary_key=True),
        _machine(nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(63), nullable=False),
        sa.Column("key", sa.String(200), nullable=False, comment="empty: more changes than are recorded"),
        sa.Column("change", sa.String(16), nullable=False, comment="appeared, disappeared, changed, more"),
        sa.Column("health_before", sa.String(16)),
        sa.Column("health_after", sa.String(16)),
        sa.Column("before", sa.JSON, nullable=False, comment="fields that changed or disappeared, without numbers"),
        sa.Column("after", sa.JSON, nullable=False, comment="fields that changed or appeared, without numbers"),
        sa.Column(
            "times", sa.Integer, nullable=False, server_default="1", comment="above 1 only with the change `more`"
        ),
    )
    op.create_index("ix_fact_change_machine_id_at", "fact_change", ["machine_id", "at"])
    op.create_index("ix_fact_change_at", "fact_change", ["at"])


def _machine(**options: bool) -> sa.Column[int]:
    return sa.Column("machine_id", sa.Integer, sa.ForeignKey("machine.id", ondelete="CASCADE"), **options)
