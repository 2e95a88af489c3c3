"""Count the transitions of a machine that changes its presence too often in one row."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "above 1 only with the reason flapping"
    op.add_column("transition", sa.Column("times", sa.Integer, nullable=False, server_default="1", comment=comment))


def downgrade() -> None:
    op.drop_column("transition", "times")
