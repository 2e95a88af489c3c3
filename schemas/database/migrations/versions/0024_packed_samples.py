"""Pack samples on PostgreSQL: `sample` becomes a view of narrower rows, which have the index."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_BEFORE = (
    "sampled_at BIGINT NOT NULL",
    "seq BIGINT NOT NULL",
    "delay_milliseconds BIGINT NOT NULL",
    "clock_offset_milliseconds BIGINT NOT NULL DEFAULT 0",
    "memory_used_bytes BIGINT",
    "disk_used_bytes BIGINT",
    "uptime_seconds BIGINT",
    "network_received_bytes BIGINT",
    "network_sent_bytes BIGINT",
    "process_count BIGINT",
    "machine_id INTEGER NOT NULL",
    "stream_number INTEGER NOT NULL",
    "load_1m INTEGER",
    "temperature_celsius INTEGER",
    "cpu_percent SMALLINT",
    "memory_percent SMALLINT",
    "disk_percent SMALLINT",
    "swap_percent SMALLINT",
    "extra JSON",
)
_ROW = (
    "sampled_at BIGINT NOT NULL",
    "stream_seq BIGINT NOT NULL",
    "machine_id INTEGER NOT NULL",
    "delay INTEGER",
    "memory_kib INTEGER",
    "disk_low INTEGER",
    "uptime INTEGER",
    "received_low INTEGER",
    "sent_low INTEGER",
    "cpu SMALLINT",
    "memory SMALLINT",
    "disk SMALLINT",
    "swap SMALLINT",
    "load SMALLINT",
    "received_high SMALLINT",
    "sent_high SMALLINT",
    "processes SMALLINT",
    "temperature SMALLINT",
    'disk_high "char"',
    "rest TEXT COLLATE \"C\" NOT NULL DEFAULT ''",
)
"""In the order of their width, so that none is padded: 64 bytes, if none is null and `rest` is empty."""

_COMMENTS = {
    "sampled_at": "machine clock",
    "stream_number": "stream.number",
    "delay_milliseconds": "arrival by the server clock minus sampled_at",
}
_ROW_COMMENTS = {
    "sampled_at": "machine clock",
    "stream_seq": "stream.number * 2^53 + seq",
    "delay": "milliseconds; null: the delay and the offset of the clock, which is else 0, are in rest",
    "load": "hundredths, as the percentages and the temperature; -32768: null",
    "received_high": "bytes: high * 2^32 + low",
    "disk_high": "units of 512 bytes: high * 2^32 + low",
    "rest": "the readings that do not fit their columns, separated by spaces, then the JSON of extra",
}
_INTEGER_MAX, _SMALL_MAX, _NULL = 2**31 - 1, 2**15 - 1, -(2**15)

_ARRIVAL_FITS = f"clock_offset_milliseconds = 0 AND delay_milliseconds BETWEEN -{_INTEGER_MAX} AND {_INTEGER_MAX}"
_FITS = {
    "clock_offset_milliseconds": _ARRIVAL_FITS,
    "delay_milliseconds": _ARRIVAL_FITS,
    "memory_used_bytes": f"{{0}} BETWEEN 0 AND {_INTEGER_MAX * 1024} AND {{0}} & 1023 = 0",
    "disk_used_bytes": f"{{0}} BETWEEN 0 AND {(127 * 2**32 + _INTEGER_MAX) * 512} AND {{0}} & 511 = 0",
    "uptime_seconds": f"{{}} BETWEEN 0 AND {_INTEGER_MAX}",
    "network_received_bytes": f"{{}} BETWEEN 0 AND {_SMALL_MAX * 2**32 + _INTEGER_MAX}",
    "network_sent_bytes": f"{{}} BETWEEN 0 AND {_SMALL_MAX * 2**32 + _INTEGER_MAX}",
    "load_1m": f"{{}} BETWEEN 0 AND {_SMALL_MAX}",
    "process_count": f"{{}} BETWEEN 0 AND {_SMALL_MAX}",
    "temperature_celsius": f"{{}} BETWEEN -{_SMALL_MAX} AND {_SMALL_MAX}",
}
"""The values that may be in `rest`, in this order, and when they are not. A clock's offset has no other column."""


def _rest() -> str:
    words = (f"CASE WHEN ({fits.format(name)}) IS FALSE THEN {name}::text ELSE '' END" for name, fits in _FITS.items())
    fitting = " AND ".join(f"({fits.format(name)}) IS NOT FALSE" for name, fits in _FITS.items())
    rest = f"concat_ws(' ', nullif(rtrim(concat_ws(' ', {', '.join(words)})), ''), nullif(extra::text, 'null'))"
    return f"CASE WHEN {fitting} AND extra IS NULL THEN '' ELSE {rest} END"


def _if_fits(name: str, packed: str, otherwise: str = "") -> str:
    return f"CASE WHEN {_FITS[name].format(name)} THEN {packed.format(name)} {otherwise} END"


_HIGH, _LOW = "((({} + 2147483648) >> 32)::int)", "((({} + 2147483648) & 4294967295) - 2147483648)::int"

_PACKED = {
    "sampled_at": "sampled_at",
    "stream_seq": "(stream_number::bigint << 53) | seq",
    "machine_id": "machine_id",
    "delay": _if_fits("delay_milliseconds", "{}::int"),
    "memory_kib": _if_fits("memory_used_bytes", "({} >> 10)::int"),
    "disk_low": _if_fits("disk_used_bytes", _LOW.format("({} >> 9)")),
    "uptime": _if_fits("uptime_seconds", "{}::int"),
    "received_low": _if_fits("network_received_bytes", _LOW),
    "sent_low": _if_fits("network_sent_bytes", _LOW),
    "cpu": "cpu_percent",
    "memory": "memory_percent",
    "disk": "disk_percent",
    "swap": "swap_percent",
    "load": _if_fits("load_1m", "{}::smallint", f"WHEN load_1m IS NULL THEN ({_NULL})::smallint"),
    "received_high": _if_fits("network_received_bytes", f"{_HIGH}::smallint"),
    "sent_high": _if_fits("network_sent_bytes", f"{_HIGH}::smallint"),
    "processes": _if_fits("process_count", "{}::smallint"),
    "temperature": _if_fits(
        "temperature_celsius", "{}::smallint", f"WHEN temperature_celsius IS NULL THEN ({_NULL})::smallint"
    ),
    "disk_high": _if_fits("disk_used_bytes", _HIGH.format("({} >> 9)") + '::"char"'),
    "rest": _rest(),
}


def _from_rest(name: str, kind: str = "bigint") -> str:
    place = list(_FITS).index(name) + 1
    return f"CASE WHEN rest <> '' THEN nullif(split_part(split_part(rest, '{{', 1), ' ', {place}), '')::{kind} END"


def _whole(name: str, unpacked: str, kind: str = "bigint") -> str:
    return f"coalesce({unpacked}, {_from_rest(name, kind)})"


_UNPACKED = {
    "machine_id": "machine_id",
    "sampled_at": "sampled_at",
    "stream_number": "(stream_seq >> 53)::int",
    "seq": f"stream_seq & {2**53 - 1}",
    "delay_milliseconds": _whole("delay_milliseconds", "delay::bigint"),
    "clock_offset_milliseconds": "CASE WHEN delay IS NOT NULL THEN 0 ELSE split_part(rest, ' ', 1)::bigint END",
    "cpu_percent": "cpu",
    "memory_percent": "memory",
    "memory_used_bytes": _whole("memory_used_bytes", "memory_kib * 1024::bigint"),
    "disk_percent": "disk",
    "disk_used_bytes": _whole("disk_used_bytes", "(disk_high::int * 4294967296 + disk_low) * 512"),
    "swap_percent": "swap",
    "uptime_seconds": _whole("uptime_seconds", "uptime::bigint"),
    "load_1m": _whole("load_1m", f"nullif(load, {_NULL})::int", "int"),
    "network_received_bytes": _whole("network_received_bytes", "received_high * 4294967296 + received_low"),
    "network_sent_bytes": _whole("network_sent_bytes", "sent_high * 4294967296 + sent_low"),
    "process_count": _whole("process_count", "processes::bigint"),
    "temperature_celsius": _whole("temperature_celsius", f"nullif(temperature, {_NULL})::int", "int"),
    "extra": "CASE WHEN rest <> '' THEN nullif(substr(rest, strpos(rest || '{', '{')), '')::json END",
}
_KEY = "machine_id, (CAST(LEAST(GREATEST(sampled_at / 60000, 0), 2147483647) AS INTEGER)), {}"
_PARTITIONS = (
    "SELECT part.relname, pg_get_expr(part.relpartbound, part.oid) FROM pg_inherits "
    "JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid WHERE pg_inherits.inhparent = to_regclass('{}') "
    "ORDER BY part.relname"
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _write_anew("sample", "sample_row", _ROW, _PACKED)
        _index("sample_row", _ROW_COMMENTS, _UNPACKED["clock_offset_milliseconds"])
        _make_view("sample", "")
        _make_view("sample_if_new", "ON CONFLICT DO NOTHING")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP VIEW sample, sample_if_new")
        _write_anew("sample_row", "sample", _BEFORE, _UNPACKED)
        _index("sample", _COMMENTS, "clock_offset_milliseconds")


def _write_anew(old: str, new: str, columns: tuple[str, ...], values: dict[str, str]) -> None:
    """Write the samples into a new table, partition by partition, within the database."""
    names = [column.split()[0] for column in columns]
    chosen = ", ".join(values[name] for name in names)
    key = _KEY.format("stream_seq" if "stream_seq" in names else f"({_PACKED['stream_seq']})")
    op.execute(f"CREATE TABLE {new} ({', '.join(columns)}) PARTITION BY RANGE (sampled_at)")
    reference = "FOREIGN KEY (machine_id) REFERENCES machine (id) ON DELETE CASCADE"
    op.execute(f"ALTER TABLE {new} ADD CONSTRAINT fk_sample_machine_id {reference}")
    for name, bounds in op.get_bind().execute(sa.text(_PARTITIONS.format(old))).all():
        op.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
        op.execute(f"CREATE TABLE {name} (LIKE {new} INCLUDING ALL)")
        op.execute(f"INSERT INTO {name} ({', '.join(names)}) SELECT {chosen} FROM old_{name}")  # noqa: S608 - names of ours
        op.execute(f"DROP TABLE old_{name}")
        op.execute(f"CREATE UNIQUE INDEX {name}_key ON {name} ({key}) WITH (fillfactor = 100)")
        op.execute(f"ALTER TABLE {new} ATTACH PARTITION {name} {bounds}")
    op.execute(f"DROP TABLE {old}")


def _index(table: str, comments: dict[str, str], clock_offset: str) -> None:
    for name, comment in comments.items():
        op.execute(f"COMMENT ON COLUMN {table}.{name} IS '{comment}'")
    op.execute(f"CREATE INDEX ix_sample_wrong_clock ON {table} (machine_id) WHERE ({clock_offset}) <> 0")
    op.execute(f"ANALYZE {table}")


def _make_view(name: str, on_conflict: str) -> None:
    columns = ", ".join(f"{value} AS {column}" for column, value in _UNPACKED.items())
    op.execute(f"CREATE VIEW {name} AS SELECT {columns} FROM sample_row")  # noqa: S608 - names of ours
    op.execute(f"ALTER VIEW {name} ALTER clock_offset_milliseconds SET DEFAULT 0")
    values = re.sub(rf"\b({'|'.join(_UNPACKED)})\b", r"NEW.\1", ", ".join(_PACKED.values()))
    op.execute(
        f"CREATE RULE packed AS ON INSERT TO {name} DO INSTEAD "  # noqa: S608 - the same
        f"INSERT INTO sample_row ({', '.join(_PACKED)}) VALUES ({values}) {on_conflict}"
    )
