"""Create the table of the durations of alert rules that have begun."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    machine = sa.ForeignKey("machine.id", ondelete="CASCADE")
    since = "when the condition of the rule began, or ended if it is active"
    op.create_table(
        "pending_decision",
        sa.Column("machine_id", sa.Integer, machine, primary_key=True, autoincrement=False),
        sa.Column("rule", sa.String(63), primary_key=True, comment="one that no sample decides"),
        sa.Column("since", sa.BigInteger, nullable=False, comment=since),
        sa.Column("value", sa.Float, comment="value at that time"),
        sa.Column("device", sa.String(200), nullable=False, comment="device or item that the value is of"),
    )


def downgrade() -> None:
    op.drop_table("pending_decision")
