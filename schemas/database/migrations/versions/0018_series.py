"""Create the tables of series."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def _machine() -> sa.Column[int]:
    key = sa.ForeignKey("machine.id", ondelete="CASCADE")
    return sa.Column("machine_id", sa.Integer, key, primary_key=True, autoincrement=False)


def _key(name: str, comment: str, type_: type[sa.BigInteger | sa.Integer] = sa.BigInteger) -> sa.Column[int]:
    return sa.Column(name, type_, primary_key=True, autoincrement=False, comment=comment)


def upgrade() -> None:
    op.create_table(
        "series_sample",
        _machine(),
        _key("at", "server clock"),
        _key("stream_number", "stream.number", sa.Integer),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("readings", sa.Text, nullable=False, comment="JSON: metric: device: reading"),
    )
    op.create_table(
        "series_due",
        _machine(),
        _key("at", "start of the hour, server clock"),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_series_due_due_at", "series_due", ["due_at"])
    op.create_table(
        "series_hour",
        _machine(),
        _key("at", "start of the hour, server clock"),
        _key("part", "from 0; above 0 only with many readings", sa.Integer),
        sa.Column("readings", sa.Integer, nullable=False),
        sa.Column("block", sa.LargeBinary, nullable=False, comment="schemas.series.sample_block"),
    )
    op.create_index("ix_series_hour_at", "series_hour", ["at"])
    op.create_table(
        "series_rollup",
        _machine(),
        _key("length", "milliseconds: an hour or a day", sa.Integer),
        _key("at", "start of the hour or day, server clock"),
        sa.Column("block", sa.LargeBinary, nullable=False, comment="schemas.series.summary_block"),
    )
    op.create_index("ix_series_rollup_at", "series_rollup", ["at"])


def downgrade() -> None:
    for name in ("series_rollup", "series_hour", "series_due", "series_sample"):
        op.drop_table(name)
