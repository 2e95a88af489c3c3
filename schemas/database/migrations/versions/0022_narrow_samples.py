"""Make samples narrower on PostgreSQL: the order of the columns, the type of percentages, and the index."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_BEFORE = (
    "machine_id INTEGER NOT NULL",
    "sampled_at BIGINT NOT NULL",
    "stream_number INTEGER NOT NULL",
    "seq BIGINT NOT NULL",
    "delay_milliseconds BIGINT NOT NULL",
    "clock_offset_milliseconds BIGINT NOT NULL DEFAULT 0",
    "cpu_percent INTEGER",
    "memory_percent INTEGER",
    "memory_used_bytes BIGINT",
    "disk_percent INTEGER",
    "disk_used_bytes BIGINT",
    "swap_percent INTEGER",
    "uptime_seconds BIGINT",
    "load_1m INTEGER",
    "network_received_bytes BIGINT",
    "network_sent_bytes BIGINT",
    "process_count BIGINT",
    "temperature_celsius INTEGER",
    "extra JSON",
)
_PERCENTAGES = ("cpu_percent", "memory_percent", "disk_percent", "swap_percent")
_COMMENTS = {
    "sampled_at": "machine clock",
    "stream_number": "stream.number",
    "delay_milliseconds": "arrival by the server clock minus sampled_at",
}
_KEY = (
    "machine_id, (CAST(LEAST(GREATEST(sampled_at / 60000, 0), 2147483647) AS INTEGER)), "
    "((CAST(stream_number AS BIGINT) << 53) | seq)"
)
_PARTITIONS = (
    "SELECT part.relname, pg_get_expr(part.relpartbound, part.oid) FROM pg_inherits "
    "JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid WHERE pg_inherits.inhparent = to_regclass('sample') "
    "ORDER BY part.relname"
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        narrow = (
            column.replace("INTEGER", "SMALLINT") if column.startswith(_PERCENTAGES) else column for column in _BEFORE
        )
        _write_anew(sorted(narrow, key=_width), "CREATE UNIQUE INDEX {0}_key ON {0} ({1}) WITH (fillfactor = 100)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _write_anew(_BEFORE, None)


def _width(column: str) -> int:
    """Return the place of a column: the widest first, so that none is padded."""
    return ("BIGINT", "INTEGER", "SMALLINT", "JSON").index(column.split()[1])


def _write_anew(columns: tuple[str, ...] | list[str], index: str | None) -> None:
    """Write the samples into new tables, partition by partition, within the database; `index`: of each partition."""
    connection = op.get_bind()
    names = ", ".join(column.split()[0] for column in columns)
    op.execute(f"CREATE TABLE new_sample ({', '.join(columns)}) PARTITION BY RANGE (sampled_at)")
    reference = "FOREIGN KEY (machine_id) REFERENCES machine (id) ON DELETE CASCADE"
    op.execute(f"ALTER TABLE new_sample ADD CONSTRAINT fk_sample_machine_id {reference}")
    for name, comment in _COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN new_sample.{name} IS '{comment}'")
    for name, bounds in connection.execute(sa.text(_PARTITIONS)).all():
        op.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
        op.execute(f"CREATE TABLE {name} (LIKE new_sample INCLUDING ALL)")
        op.execute(f"INSERT INTO {name} ({names}) SELECT {names} FROM old_{name}")  # noqa: S608 - names of ours
        op.execute(f"DROP TABLE old_{name}")
        if index is not None:
            op.execute(index.format(name, _KEY))
        op.execute(f"ALTER TABLE new_sample ATTACH PARTITION {name} {bounds}")
    op.execute("DROP TABLE sample")
    op.execute("ALTER TABLE new_sample RENAME TO sample")
    if index is None:
        op.execute(
            "ALTER TABLE sample ADD CONSTRAINT pk_sample PRIMARY KEY (machine_id, sampled_at, stream_number, seq)"
        )
    op.execute("CREATE INDEX ix_sample_wrong_clock ON sample (machine_id) WHERE clock_offset_milliseconds <> 0")
    op.execute("ANALYZE sample")
