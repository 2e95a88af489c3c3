"""Record which alerts ended because their rule no longer applied."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column(
        "withdrawn", sa.Boolean, nullable=False, server_default="0", comment="ended without its condition ending"
    )
    op.add_column("alert", column)


def downgrade() -> None:
    with op.batch_alter_table("alert") as batch:
        batch.drop_column("withdrawn")
