"""Add the device pattern of alert rules."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "pattern of the devices of a series; empty: not about devices"
    op.add_column("alert_rule", sa.Column("device", sa.String(128), nullable=False, server_default="", comment=comment))


def downgrade() -> None:
    op.drop_column("alert_rule", "device")
