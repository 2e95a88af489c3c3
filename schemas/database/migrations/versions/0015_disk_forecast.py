"""Create the table of disk forecasts."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    machine = sa.ForeignKey("machine.id", ondelete="CASCADE")
    op.create_table(
        "disk_forecast",
        sa.Column("machine_id", sa.Integer, machine, primary_key=True, autoincrement=False),
        sa.Column("outlook", sa.String(16), nullable=False, comment="schemas.fleet.forecast.Outlook"),
        sa.Column("per_day", sa.Float, comment="percentage points"),
        sa.Column(
            "full_at", sa.BigInteger, comment="when the disk will be full; null: not within a year, or not known"
        ),
        sa.Column("made_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_disk_forecast_made_at", "disk_forecast", ["made_at"])


def downgrade() -> None:
    op.drop_table("disk_forecast")
