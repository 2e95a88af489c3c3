"""Several ingestors: who does which work, and who wrote what is known of a machine last."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.String(64), nullable=False, comment="an organisation's, or _timers"),
        sa.Column("holder", sa.String(64), nullable=False, comment="an ingestor's name; empty: nobody's"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.add_column(
        "ingestor",
        sa.Column(
            "epoch",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="counts its starts, and what was taken from it",
        ),
    )
    op.add_column(
        "state",
        sa.Column(
            "writer",
            sa.BigInteger(),
            comment="which run of which ingestor wrote this, and the machine's streams, last",
        ),
    )
