"""Create the table of forecasts per file system, and make the forecasts anew."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    machine = sa.ForeignKey("machine.id", ondelete="CASCADE")
    op.create_table(
        "mount_forecast",
        sa.Column("machine_id", sa.Integer, machine, primary_key=True, autoincrement=False),
        sa.Column("mount", sa.String(128), primary_key=True, comment="device of the series disk_used_percent"),
        sa.Column("outlook", sa.String(16), nullable=False, comment="schemas.fleet.forecast.Outlook"),
        sa.Column("per_day", sa.Float, comment="percentage points"),
        sa.Column("full_at", sa.BigInteger, comment="when it will be full; null: not within a year, or not known"),
    )
    op.execute("UPDATE disk_forecast SET made_at = 0")


def downgrade() -> None:
    op.drop_table("mount_forecast")
