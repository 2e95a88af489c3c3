"""Samples in fewer bytes: fractions as hundredths, the arrival as a delay, and no JSON `null`."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
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
KEY = ("machine_id", "sampled_at", "stream_number", "seq")


def upgrade() -> None:
    op.rename_table("sample", "sample_before")
    if op.get_bind().dialect.name == "postgresql":  # the name of an index is taken for as long as it is there
        op.execute("ALTER INDEX pk_sample RENAME TO pk_sample_before")
    op.create_table(
        "sample",
        sa.Column("machine_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sampled_at", sa.BigInteger(), autoincrement=False, nullable=False, comment="the machine's clock"),
        sa.Column(
            "stream_number",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="with seq: apart in a millisecond",
        ),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "delay_milliseconds",
            sa.BigInteger(),
            nullable=False,
            comment="its arrival by the server's clock, less sampled_at",
        ),
        sa.Column("clock_offset_milliseconds", sa.BigInteger(), server_default="0", nullable=False),
        *(sa.Column(name, kind(), nullable=True) for name, kind in READINGS.items()),
        sa.Column("extra", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_sample_machine_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint(*KEY, name=op.f("pk_sample")),
        sqlite_with_rowid=False,
    )
    readings = (
        f"CAST(round({name} * 100) AS INTEGER)" if kind is sa.Integer else name for name, kind in READINGS.items()
    )
    names = ", ".join((*KEY, "delay_milliseconds", "clock_offset_milliseconds", *READINGS, "extra"))
    values = ", ".join(
        (
            *KEY,
            "received_at - sampled_at",
            "clock_offset_milliseconds",
            *readings,
            "CASE WHEN CAST(extra AS TEXT) <> 'null' THEN extra END",
        )
    )
    op.execute(f"INSERT INTO sample ({names}) SELECT {values} FROM sample_before ORDER BY {', '.join(KEY)}")  # noqa: S608 - constants
    op.drop_table("sample_before")
