"""Index presence transitions and alerts by time, for the timeline of a fleet."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_transition_at", "transition", ["at"])
    op.create_index("ix_alert_started_at", "alert", ["started_at"])


def downgrade() -> None:
    op.drop_index("ix_alert_started_at", "alert")
    op.drop_index("ix_transition_at", "transition")
