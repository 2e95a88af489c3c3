"""What is stored: the fleet's database as SQLAlchemy Core tables, the same on SQLite and PostgreSQL.

Invariants:
- Only the ingestor writes these tables (the admin commands aside); the dashboard reads them with a read-only engine.
- Times are integer milliseconds UTC. A column ending in `_at` is the server's clock, except `sampled_at`.
- Migrations live in `schemas/migrations`; a test keeps them equal to this file.
"""

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    cast,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BigId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in a column of exactly INTEGER."""

HUNDRED: Final = 100.0


class Hundredths(TypeDecorator[float]):
    """A reading to two decimals (up to ±20 million), kept as an integer: agents send no more, and SQLite takes 2
    bytes for it instead of 8. In an expression of SQL it counts hundredths: see `as_float`."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> int | None:  # noqa: ANN401, ARG002 - its own
        """What is stored."""
        return None if value is None else round(value * HUNDRED)

    def process_result_value(self, value: int | None, dialect: Any) -> float | None:  # noqa: ANN401, ARG002 - its own
        """What is read."""
        return None if value is None else value / HUNDRED


def as_float(column: Column[Any]) -> ColumnElement[Any]:
    """A column's reading, for a calculation in SQL."""
    reading: ColumnElement[Any] = cast(column, Float)
    return reading / HUNDRED if isinstance(column.type, Hundredths) else reading


def vital_columns(fraction: type[Float[float]] | type[Hundredths] = Float) -> list[Column[float] | Column[int]]:
    """The vitals as typed, nullable columns, named and in the order of `schemas.contract.messages.Vitals`."""
    return [
        Column("cpu_percent", fraction),
        Column("memory_percent", fraction),
        Column("memory_used_bytes", BigInteger),
        Column("disk_percent", fraction),
        Column("disk_used_bytes", BigInteger),
        Column("swap_percent", fraction),
        Column("uptime_seconds", BigInteger),
        Column("load_1m", fraction),
        Column("network_received_bytes", BigInteger),
        Column("network_sent_bytes", BigInteger),
        Column("process_count", BigInteger),
        Column("temperature_celsius", fraction),
    ]


def summary_columns() -> list[Column[float] | Column[int]]:
    """Per vital how many readings a stretch of time had, their minimum, average and maximum."""
    columns: list[Column[float] | Column[int]] = []
    for vital in vital_columns(Hundredths):
        columns.append(Column(f"{vital.name}_count", Integer, nullable=False))
        columns.append(Column(f"{vital.name}_min", vital.type))
        columns.append(Column(f"{vital.name}_avg", Float))
        columns.append(Column(f"{vital.name}_max", vital.type))
    return columns


org = Table(
    "org",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),
    Column("config", JSON, nullable=False, comment="schemas.contract.messages.OrgConfig"),
    Column("retention", JSON, comment="schemas.fleet.history.Retention; null: the defaults"),
    Column("created_at", BigInteger, nullable=False),
)

principal = Table(
    "principal",
    metadata,
    Column("username", String(128), primary_key=True, comment="also the MQTT client id"),
    Column("role", String(16), nullable=False),
    Column("org", String(32), nullable=False, comment="empty for the system's own"),
    Column("name", String(64), nullable=False, comment="the machine id, or the name behind the underscore"),
    Column("secret_hash", String(200), nullable=False, comment="Mosquitto's $7$ form: PBKDF2-SHA512"),
    Column("bcrypt", String(60), comment="the same for NATS; null where only the record was known"),
    Column("previous_secret_hash", String(200), comment="also let in until previous_until, after a rotation"),
    Column("previous_until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

token = Table(
    "token",
    metadata,
    Column("username", ForeignKey(principal.c.username, ondelete="CASCADE"), primary_key=True, comment="role enrol"),
    Column("uses", Integer, nullable=False, comment="how many machines it may make"),
    Column("used", Integer, nullable=False, server_default="0"),
    Column("expires_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False, comment="who made it, for people"),
)

enrolment = Table(
    "enrolment",
    metadata,
    Column("nonce", String(32), primary_key=True, comment="of the request: the same one gets the same answer"),
    Column("token", ForeignKey(token.c.username, ondelete="CASCADE"), nullable=False),
    Column("machine", String(63), nullable=False, comment="the id it was given"),
    Column("at", BigInteger, nullable=False),
    Index("ix_enrolment_token", "token"),
)

key_change = Table(
    "key_change",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("org_id", ForeignKey("org.id", ondelete="CASCADE"), nullable=False),
    Column("statement", Text, nullable=False, comment="schemas.contract.signing.KeyChange, as it was signed"),
    Column("key", String(16), nullable=False, comment="the key that signed"),
    Column("signature", String(128), nullable=False),
    Index("ix_key_change_org_id", "org_id"),
)

machine = Table(
    "machine",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("org_id", ForeignKey(org.c.id, ondelete="CASCADE"), nullable=False),
    Column("name", String(63), nullable=False, comment="the machine id of the topics"),
    Column("created_at", BigInteger, nullable=False),
    Column("hostname", String(256)),
    Column("os", String(256)),
    Column("os_version", String(256)),
    Column("agent_version", String(256)),
    Column("hardware_id", String(32)),
    Column("labels", JSON),
    Column("info", JSON, comment="the last schemas.contract.messages.Info, whole"),
    Column("desired_version", Integer, nullable=False, server_default="0", comment="of the last configure; 0: none"),
    Column("desired", JSON, comment="schemas.contract.commands.Desired, as it is published"),
    UniqueConstraint("org_id", "name"),
)

state = Table(
    "state",
    metadata,
    Column("machine_id", ForeignKey(machine.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("presence", String(16), nullable=False, comment="ingestor.domain.presence.Presence"),
    Column("reason", String(32), nullable=False, server_default="", comment="why, for the last transition"),
    Column("since_at", BigInteger, nullable=False, comment="of the last transition"),
    Column("verified", Boolean, nullable=False, comment="false while the ingestor was blind and has not heard since"),
    Column("connected", Boolean, nullable=False, comment="what the last status said"),
    Column("session", BigInteger, nullable=False),
    Column("interval_seconds", Float, nullable=False),
    Column("last_seen_at", BigInteger, comment="arrival of the last live message"),
    Column("clock_offset_milliseconds", BigInteger, comment="server's clock minus the machine's, on live messages"),
    Column("sampled_at", BigInteger, comment="the machine's clock, of the vitals here"),
    *vital_columns(),
    Column("extra", JSON),
    Column("health_score", Integer),
    Column("health_status", String(16), nullable=False, server_default="unknown"),
    Column("writer", BigInteger, comment="which run of which ingestor wrote this, and the machine's streams, last"),
    Index("ix_state_presence", "presence"),
)

sample = Table(
    "sample",
    metadata,
    Column("machine_id", ForeignKey(machine.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("sampled_at", BigInteger, primary_key=True, autoincrement=False, comment="the machine's clock"),
    Column("stream_number", Integer, primary_key=True, autoincrement=False, comment="with seq: apart in a millisecond"),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "delay_milliseconds", BigInteger, nullable=False, comment="its arrival by the server's clock, less sampled_at"
    ),
    Column("clock_offset_milliseconds", BigInteger, nullable=False, server_default="0"),
    *vital_columns(Hundredths),
    Column("extra", JSON(none_as_null=True)),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (sampled_at)",  # by day: `ingestor.history.partitions`
)

minute = Table(
    "minute",
    metadata,
    Column("machine_id", ForeignKey(machine.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False, comment="its start, by the server's clock"),
    Column("samples", Integer, nullable=False),
    Column("sampled_from", BigInteger, nullable=False, comment="where its samples are, by the machine's clock"),
    Column("sampled_to", BigInteger, nullable=False),
    *summary_columns(),
    Column("extra", JSON, comment="by metric: count, minimum, average, maximum"),
    sqlite_with_rowid=False,
)

hour = Table(
    "hour",
    metadata,
    Column("machine_id", ForeignKey(machine.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False, comment="its start, by the server's clock"),
    Column("samples", Integer, nullable=False),
    *summary_columns(),
    Column("extra", JSON, comment="by metric: count, minimum, average, maximum"),
    sqlite_with_rowid=False,
)

dirty = Table(
    "dirty",
    metadata,
    Column("machine_id", ForeignKey(machine.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("length", Integer, primary_key=True, autoincrement=False, comment="milliseconds: of a minute or an hour"),
    Column("at", BigInteger, primary_key=True, autoincrement=False, comment="its start, as in the roll-ups"),
    Column("due_at", BigInteger, nullable=False, comment="not to be rolled up before"),
    Column("sampled_from", BigInteger, comment="where its new samples are, by the machine's clock; of minutes"),
    Column("sampled_to", BigInteger),
    Index("ix_dirty_length_due_at", "length", "due_at"),
    sqlite_with_rowid=False,
)

pruned = Table(
    "pruned",
    metadata,
    Column("machine_id", ForeignKey(machine.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column(
        "samples_before", BigInteger, nullable=False, comment="samples of minutes before were rolled up and deleted"
    ),
    Column("minutes_before", BigInteger, nullable=False, comment="minutes of hours before, the same"),
)

stream = Table(
    "stream",
    metadata,
    Column("machine_id", ForeignKey(machine.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("name", String(16), primary_key=True, comment="what the outbox called it"),
    Column("number", Integer, nullable=False, comment="1 for a machine's first; in the key of its samples"),
    Column("created_at", BigInteger, nullable=False),
    Column("highest_seq", BigInteger, nullable=False, comment="the highest number heard of"),
    Column("oldest_seq", BigInteger, nullable=False, comment="the smallest number the outbox says it still holds"),
    Column("dropped", BigInteger, nullable=False, comment="how many the outbox says it dropped"),
    Column("late", BigInteger, nullable=False, comment="stored from a backfill"),
    Column("duplicate", BigInteger, nullable=False, comment="arrived again after they were stored"),
    Column("stored", Text, nullable=False, comment="the numbers that are stored, as schemas.fleet.ranges writes them"),
    Column("booted_at", BigInteger, comment="the machine's boot by the server's clock; a stream belongs to one boot"),
)

transition = Table(
    "transition",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("machine_id", ForeignKey(machine.c.id, ondelete="CASCADE"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("session", BigInteger, nullable=False),
    Index("ix_transition_machine_id_at", "machine_id", "at"),
)

incident = Table(
    "incident",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("org_id", ForeignKey(org.c.id, ondelete="CASCADE"), nullable=True, comment="null: the whole system"),
    Column("kind", String(32), nullable=False, comment="mass-silence, blind, cloned-identity"),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("details", JSON, nullable=False),
    Index("ix_incident_started_at", "started_at"),
)

alert = Table(
    "alert",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("machine_id", ForeignKey(machine.c.id, ondelete="CASCADE"), nullable=False),
    Column("rule", String(63), nullable=False, comment="the name of a rule of the ingestor"),
    Column("title", String(64), nullable=False),
    Column("severity", String(16), nullable=False, comment="warning, critical"),
    Column("detail", String(256), nullable=False, server_default=""),
    Column("started_at", BigInteger, nullable=False, comment="from when on what the rule looks for was so"),
    Column("ended_at", BigInteger, comment="null: it lasts"),
    Index("ix_alert_machine_id_started_at", "machine_id", "started_at"),
    Index("ix_alert_ended_at", "ended_at"),
)

request = Table(
    "request",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", ForeignKey(org.c.id, ondelete="CASCADE"), nullable=False),
    Column("principal", String(128), nullable=False, comment="the username that published it"),
    Column("actor", String(256), nullable=False, comment="who asked, by the principal's word"),
    Column("kind", String(32), nullable=False, comment="act, cancel, …"),
    Column("batch", String(32), nullable=False, comment="requests of one selection share it"),
    Column("rollout", JSON, comment="schemas.contract.commands.Rollout"),
    Column("state", String(16), nullable=False, comment="accepted, refused, stopped"),
    Column("detail", Text, nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_request_org_id_created_at", "org_id", "created_at"),
    Index("ix_request_batch", "batch"),
)

command = Table(
    "command",
    metadata,
    Column("id", String(32), primary_key=True, comment="of the order"),
    Column("machine_id", ForeignKey(machine.c.id, ondelete="CASCADE"), nullable=False),
    Column("request_id", ForeignKey(request.c.id, ondelete="CASCADE"), nullable=False),
    Column("action", String(64), nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("statement", Text, nullable=False, comment="schemas.contract.commands.Order, as it was signed"),
    Column("key", String(16), nullable=False),
    Column("signature", String(128), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("state", String(16), nullable=False, comment="schemas.contract.commands.State"),
    Column("reason", String(32), nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    Column("exit_code", BigInteger),
    Column("output", Text),
    Column("output_truncated", Boolean, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger, comment="the last attempt"),
    Column("running_at", BigInteger),
    Column("ended_at", BigInteger, comment="when it came to a final state, or timed out"),
    Index("ix_command_machine_id_created_at", "machine_id", "created_at"),
    Index("ix_command_request_id", "request_id"),
    Index("ix_command_state", "state"),
)

command_transition = Table(
    "command_transition",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("command_id", ForeignKey(command.c.id, ondelete="CASCADE"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("before", String(16), nullable=False, comment="empty for the first"),
    Column("after", String(16), nullable=False),
    Column("by", String(256), nullable=False, comment="a principal, the machine, or the ingestor"),
    Column("reason", String(32), nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    Index("ix_command_transition_command_id", "command_id"),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("received_at", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("payload_start", Text, nullable=False, comment="the first 4 KiB, backslash-escaped where not UTF-8"),
    Index("ix_dead_letter_received_at", "received_at"),
)

ingestor = Table(
    "ingestor",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("beat_at", BigInteger, nullable=False, comment="the last time it said that it lives"),
    Column("broker_connected", Boolean, nullable=False),
    Column(
        "counters", JSON, nullable=False, comment="received, stored, duplicate, rejected by reason, since its start"
    ),
    Column(
        "epoch", Integer, nullable=False, server_default="0", comment="counts its starts, and what was taken from it"
    ),
)

lease = Table(
    "lease",
    metadata,
    Column("name", String(64), primary_key=True, comment="an organisation's, or _timers"),
    Column("holder", String(64), nullable=False, comment="an ingestor's name; empty: nobody's"),
)
