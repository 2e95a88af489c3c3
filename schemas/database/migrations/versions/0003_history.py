"""Roll-ups by minute and hour, what is to be rolled up, and for how long each is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

READINGS = {
    "cpu_percent": sa.Float,
    "memory_percent": sa.Float,
    "memory_used_bytes": sa.BigInteger,
    "disk_percent": sa.Float,
    "disk_used_bytes": sa.BigInteger,
    "swap_percent": sa.Float,
    "uptime_seconds": sa.BigInteger,
    "load_1m": sa.Float,
    "network_received_bytes": sa.BigInteger,
    "network_sent_bytes": sa.BigInteger,
    "process_count": sa.BigInteger,
    "temperature_celsius": sa.Float,
}


def upgrade() -> None:
    with op.batch_alter_table("org", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "retention", sa.JSON(), nullable=True, comment="schemas.fleet.history.Retention; null: the defaults"
            )
        )
    sampled = [
        sa.Column(
            "sampled_from", sa.BigInteger(), nullable=False, comment="where its samples are, by the machine's clock"
        ),
        sa.Column("sampled_to", sa.BigInteger(), nullable=False),
    ]
    _create_rollup("minute", sampled)
    _create_rollup("hour", [])
    op.create_table(
        "dirty",
        sa.Column("machine_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "length", sa.Integer(), autoincrement=False, nullable=False, comment="milliseconds: of a minute or an hour"
        ),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False, comment="its start, as in the roll-ups"),
        sa.Column("due_at", sa.BigInteger(), nullable=False, comment="not to be rolled up before"),
        sa.Column(
            "sampled_from",
            sa.BigInteger(),
            nullable=True,
            comment="where its new samples are, by the machine's clock; of minutes",
        ),
        sa.Column("sampled_to", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_dirty_machine_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("machine_id", "length", "at", name=op.f("pk_dirty")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("dirty", schema=None) as batch_op:
        batch_op.create_index("ix_dirty_length_due_at", ["length", "due_at"], unique=False)
    op.create_table(
        "pruned",
        sa.Column("machine_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "samples_before",
            sa.BigInteger(),
            nullable=False,
            comment="samples of minutes before were rolled up and deleted",
        ),
        sa.Column("minutes_before", sa.BigInteger(), nullable=False, comment="minutes of hours before, the same"),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_pruned_machine_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("machine_id", name=op.f("pk_pruned")),
    )
    op.execute(  # what was stored before there were roll-ups
        "INSERT INTO dirty (machine_id, length, at, due_at, sampled_from, sampled_to) "
        "SELECT machine_id, 60000, (sampled_at + clock_offset_milliseconds) / 60000 * 60000 AS minute, 0, "
        "min(sampled_at), max(sampled_at) FROM sample GROUP BY machine_id, minute"
    )


def _create_rollup(name: str, columns: list[sa.Column]) -> None:
    for reading, kind in READINGS.items():
        columns.append(sa.Column(f"{reading}_count", sa.Integer(), nullable=False))
        columns.append(sa.Column(f"{reading}_min", kind(), nullable=True))
        columns.append(sa.Column(f"{reading}_avg", sa.Float(), nullable=True))
        columns.append(sa.Column(f"{reading}_max", kind(), nullable=True))
    op.create_table(
        name,
        sa.Column("machine_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "at", sa.BigInteger(), autoincrement=False, nullable=False, comment="its start, by the server's clock"
        ),
        sa.Column("samples", sa.Integer(), nullable=False),
        *columns,
        sa.Column("extra", sa.JSON(), nullable=True, comment="by metric: count, minimum, average, maximum"),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f(f"fk_{name}_machine_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("machine_id", "at", name=op.f(f"pk_{name}")),
        sqlite_with_rowid=False,
    )
