"""Minutes and hours in fewer bytes: the lowest and highest of a fraction as hundredths, as samples have them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

READINGS = {
    "cpu_percent": sa.Integer,
    "memory_percent": sa.Integer,
    "memory_used_bytes": sa.BigInteger,
    "disk_percent": sa.Integer,
    "disk_used_bytes": sa.BigInteger,
    "swap_percent": sa.Integer,
    "uptime_seconds": sa.BigInteger,
    "load_1m": sa.Integer,
    "network_received_bytes": sa.BigInteger,
    "network_sent_bytes": sa.BigInteger,
    "process_count": sa.BigInteger,
    "temperature_celsius": sa.Integer,
}


def upgrade() -> None:
    sampled = [
        sa.Column(
            "sampled_from", sa.BigInteger(), nullable=False, comment="where its samples are, by the machine's clock"
        ),
        sa.Column("sampled_to", sa.BigInteger(), nullable=False),
    ]
    _write_anew("minute", sampled)
    _write_anew("hour", [])


def _write_anew(name: str, sampled: list[sa.Column]) -> None:
    before = f"{name}_before"
    op.rename_table(name, before)
    if op.get_bind().dialect.name == "postgresql":  # the name of an index is taken for as long as it is there
        op.execute(f"ALTER INDEX pk_{name} RENAME TO pk_{before}")
    columns = [*sampled, *_summaries()]
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
    kept = {plain: plain for plain in ("machine_id", "at", "samples", *(column.name for column in columns), "extra")}
    for reading, kind in READINGS.items():
        if kind is sa.Integer:
            kept |= {of: f"CAST(round({of} * 100) AS INTEGER)" for of in (f"{reading}_min", f"{reading}_max")}
    op.execute(
        f"INSERT INTO {name} ({', '.join(kept)}) SELECT {', '.join(kept.values())} FROM {before} "  # noqa: S608 - constants
        "ORDER BY machine_id, at"
    )
    op.drop_table(before)


def _summaries() -> list[sa.Column]:
    columns: list[sa.Column] = []
    for reading, kind in READINGS.items():
        columns.append(sa.Column(f"{reading}_count", sa.Integer(), nullable=False))
        columns.append(sa.Column(f"{reading}_min", kind(), nullable=True))
        columns.append(sa.Column(f"{reading}_avg", sa.Float(), nullable=True))
        columns.append(sa.Column(f"{reading}_max", kind(), nullable=True))
    return columns
