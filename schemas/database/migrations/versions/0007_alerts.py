"""Alerts: what a rule of the ingestor found of a machine, and from when to when."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alert",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(63), nullable=False, comment="the name of a rule of the ingestor"),
        sa.Column("title", sa.String(64), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False, comment="warning, critical"),
        sa.Column("detail", sa.String(256), nullable=False, server_default=""),
        sa.Column("started_at", sa.BigInteger(), nullable=False, comment="from when on what the rule looks for was so"),
        sa.Column("ended_at", sa.BigInteger(), comment="null: it lasts"),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_alert_machine_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    op.create_index("ix_alert_machine_id_started_at", "alert", ["machine_id", "started_at"])
    op.create_index("ix_alert_ended_at", "alert", ["ended_at"])
