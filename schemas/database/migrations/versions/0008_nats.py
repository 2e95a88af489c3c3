"""A record of each secret that NATS takes, where the secret is known when it is made."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "principal",
        sa.Column("bcrypt", sa.String(60), comment="the same for NATS; null where only the record was known"),
    )
