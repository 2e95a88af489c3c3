"""Tables of the fleet database, the same on SQLite and PostgreSQL.

Invariants:
- Only the ingestor and the administrative commands write these tables; the dashboard reads them.
- Times are integer milliseconds UTC, by the server's clock except `sampled_at`, `sampled_from` and `sampled_to`.
- The migrations create exactly these tables; a test compares them.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from schemas.database.alert_tables import alert as alert
from schemas.database.alert_tables import alert_rule as alert_rule
from schemas.database.alert_tables import incident as incident
from schemas.database.alert_tables import pending_decision as pending_decision
from schemas.database.alert_tables import retracted_alert as retracted_alert
from schemas.database.alert_tables import silence as silence
from schemas.database.columns import BigId, Hundredths, SmallHundredths, summary_columns, vital_columns
from schemas.database.fact_tables import fact as fact
from schemas.database.fact_tables import fact_change as fact_change
from schemas.database.fact_tables import fact_list as fact_list
from schemas.database.forecast_tables import disk_forecast as disk_forecast
from schemas.database.forecast_tables import mount_forecast as mount_forecast
from schemas.database.metadata import metadata as metadata
from schemas.database.series_tables import series_due as series_due
from schemas.database.series_tables import series_hour as series_hour
from schemas.database.series_tables import series_rollup as series_rollup
from schemas.database.series_tables import series_sample as series_sample

org = Table(
    "org",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),
    Column("config", JSON, nullable=False, comment="schemas.contract.org_config.OrgConfig"),
    Column("retention", JSON, comment="schemas.fleet.history.Retention; null: defaults"),
    Column("created_at", BigInteger, nullable=False),
)

principal = Table(
    "principal",
    metadata,
    Column("username", String(128), primary_key=True, comment="equals the MQTT client id"),
    Column("role", String(16), nullable=False),
    Column("org", String(32), nullable=False, comment="empty: a principal of the system"),
    Column("name", String(64), nullable=False, comment="machine id, or the name after the underscore"),
    Column("secret_hash", String(200), nullable=False, comment="Mosquitto's $7$ form: PBKDF2-SHA512"),
    Column("bcrypt", String(60), comment="the secret for NATS; null: the plain secret was not known"),
    Column("previous_secret_hash", String(200), comment="still accepted until previous_until, after a rotation"),
    Column("previous_until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

token = Table(
    "token",
    metadata,
    Column("username", ForeignKey(principal.c.username, ondelete="CASCADE"), primary_key=True, comment="role enrol"),
    Column("uses", Integer, nullable=False, comment="number of machines that may enrol"),
    Column("used", Integer, nullable=False, server_default="0"),
    Column("expires_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False, comment="the actor, for display"),
)

enrolment = Table(
    "enrolment",
    metadata,
    Column("nonce", String(32), primary_key=True, comment="of the request; a repeated request gets the same answer"),
    Column("token", ForeignKey(token.c.username, ondelete="CASCADE"), nullable=False),
    Column("machine", String(63), nullable=False, comment="assigned machine id"),
    Column("at", BigInteger, nullable=False),
    Index("ix_enrolment_token", "token"),
)

key_change = Table(
    "key_change",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("org_id", ForeignKey("org.id", ondelete="CASCADE"), nullable=False),
    Column("statement", Text, nullable=False, comment="schemas.contract.signing.KeyChange as signed"),
    Column("key", String(16), nullable=False, comment="id of the signing key"),
    Column("signature", String(128), nullable=False),
    Index("ix_key_change_org_id", "org_id"),
)

machine = Table(
    "machine",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("org_id", ForeignKey(org.c.id, ondelete="CASCADE"), nullable=False),
    Column("name", String(63), nullable=False, comment="machine id, as in topics"),
    Column("created_at", BigInteger, nullable=False),
    Column("hostname", String(256)),
    Column("os", String(256)),
    Column("os_version", String(256)),
    Column("agent_version", String(256)),
    Column("hardware_id", String(32)),
    Column("labels", JSON),
    Column("info", JSON, comment="last schemas.contract.messages.Info, complete"),
    Column("desired_version", Integer, nullable=False, server_default="0", comment="of the last configure; 0: none"),
    Column("desired", JSON, comment="schemas.contract.commands.Desired as published"),
    UniqueConstraint("org_id", "name"),
)


def _machine_key() -> Column[int]:
    key = ForeignKey(machine.c.id, ondelete="CASCADE")
    return Column("machine_id", key, primary_key=True, autoincrement=False)


def _rollup(name: str, *sampled: Column[int]) -> Table:
    return Table(
        name,
        metadata,
        _machine_key(),
        Column("at", BigInteger, primary_key=True, autoincrement=False, comment="start of the interval, server clock"),
        Column("samples", Integer, nullable=False),
        *sampled,
        *summary_columns(),
        Column("extra", JSON, comment="metric: [count, minimum, average, maximum]"),
        sqlite_with_rowid=False,
    )


state = Table(
    "state",
    metadata,
    _machine_key(),
    Column("presence", String(16), nullable=False, comment="ingestor.domain.presence.Presence"),
    Column("reason", String(32), nullable=False, server_default="", comment="of the last transition"),
    Column("since_at", BigInteger, nullable=False, comment="of the last transition"),
    Column("verified", Boolean, nullable=False, comment="false: not heard since the ingestor lost the broker"),
    Column("connected", Boolean, nullable=False, comment="according to the last status"),
    Column("session", BigInteger, nullable=False),
    Column("interval_seconds", Float, nullable=False),
    Column("last_seen_at", BigInteger, comment="arrival of the last live message"),
    Column("clock_offset_milliseconds", BigInteger, comment="server clock minus machine clock, from live messages"),
    Column("sampled_at", BigInteger, comment="machine clock, of these vitals"),
    *vital_columns(),
    Column("extra", JSON),
    Column("health_score", Integer),
    Column("health_status", String(16), nullable=False, server_default="unknown"),
    Column("writer", BigInteger, comment="ingestor run that last wrote this and the streams"),
    Index("ix_state_presence", "presence"),
)

sample = Table(
    "sample",
    metadata,
    _machine_key(),
    Column("sampled_at", BigInteger, primary_key=True, autoincrement=False, comment="machine clock"),
    Column("stream_number", Integer, primary_key=True, autoincrement=False, comment="stream.number"),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("delay_milliseconds", BigInteger, nullable=False, comment="arrival by the server clock minus sampled_at"),
    Column("clock_offset_milliseconds", BigInteger, nullable=False, server_default="0"),
    *vital_columns(Hundredths, SmallHundredths),
    Column("extra", JSON(none_as_null=True)),
    sqlite_with_rowid=False,  # ordered by its key; on PostgreSQL: `schemas.database.sample_key`
    postgresql_partition_by="RANGE (sampled_at)",  # one per day: `ingestor.history.partitions`
)

minute = _rollup(
    "minute",
    Column("sampled_from", BigInteger, nullable=False, comment="range of its samples, machine clock"),
    Column("sampled_to", BigInteger, nullable=False),
)

hour = _rollup("hour")

dirty = Table(
    "dirty",
    metadata,
    _machine_key(),
    Column("length", Integer, primary_key=True, autoincrement=False, comment="milliseconds: a minute or an hour"),
    Column("at", BigInteger, primary_key=True, autoincrement=False, comment="start of the interval, server clock"),
    Column("due_at", BigInteger, nullable=False, comment="earliest time of the roll-up"),
    Column("sampled_from", BigInteger, comment="range of the new samples, machine clock; minutes only"),
    Column("sampled_to", BigInteger),
    Index("ix_dirty_length_due_at", "length", "due_at"),
    sqlite_with_rowid=False,
)

pruned = Table(
    "pruned",
    metadata,
    _machine_key(),
    Column(
        "samples_before", BigInteger, nullable=False, comment="samples of earlier minutes are rolled up and deleted"
    ),
    Column("minutes_before", BigInteger, nullable=False, comment="minutes of earlier hours, likewise"),
)

stream = Table(
    "stream",
    metadata,
    _machine_key(),
    Column("name", String(16), primary_key=True, comment="stream id given by the outbox"),
    Column("number", Integer, nullable=False, comment="counts a machine's streams from 1"),
    Column("created_at", BigInteger, nullable=False),
    Column("highest_seq", BigInteger, nullable=False, comment="highest sequence number reported"),
    Column("oldest_seq", BigInteger, nullable=False, comment="smallest sequence number in the outbox, as reported"),
    Column("dropped", BigInteger, nullable=False, comment="samples dropped by the outbox, as reported"),
    Column("late", BigInteger, nullable=False, comment="samples stored from a backfill"),
    Column("duplicate", BigInteger, nullable=False, comment="samples received again after they were stored"),
    Column("stored", Text, nullable=False, comment="stored sequence numbers, as text of schemas.fleet.ranges"),
    Column("rejected", Text, nullable=False, server_default="", comment="rejected sequence numbers, likewise"),
    Column("booted_at", BigInteger, comment="boot time of the machine, server clock; a stream belongs to one boot"),
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
    Column("times", Integer, nullable=False, server_default="1", comment="above 1 only with the reason flapping"),
    Index("ix_transition_machine_id_at", "machine_id", "at"),
    Index("ix_transition_at", "at"),
)

request = Table(
    "request",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", ForeignKey(org.c.id, ondelete="CASCADE"), nullable=False),
    Column("principal", String(128), nullable=False, comment="username of the publisher"),
    Column("actor", String(256), nullable=False, comment="the person, as the principal states"),
    Column("kind", String(32), nullable=False, comment="act, cancel, …"),
    Column("batch", String(32), nullable=False, comment="shared by the requests of one selection"),
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
    Column("id", String(32), primary_key=True, comment="id of the order"),
    Column("machine_id", ForeignKey(machine.c.id, ondelete="CASCADE"), nullable=False),
    Column("request_id", ForeignKey(request.c.id, ondelete="CASCADE"), nullable=False),
    Column("action", String(64), nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("statement", Text, nullable=False, comment="schemas.contract.commands.Order as signed"),
    Column("key", String(16), nullable=False),
    Column("signature", String(128), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("state", String(16), nullable=False, comment="schemas.contract.commands.CommandState"),
    Column("reason", String(32), nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    Column("exit_code", BigInteger),
    Column("output", Text),
    Column("output_truncated", Boolean, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger, comment="last attempt"),
    Column("running_at", BigInteger),
    Column("ended_at", BigInteger, comment="when it reached a final state, or timed out"),
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
    Column("before", String(16), nullable=False, comment="empty: first transition"),
    Column("after", String(16), nullable=False),
    Column("by", String(256), nullable=False, comment="a principal, the machine or the ingestor"),
    Column("reason", String(32), nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    Index("ix_command_transition_command_id", "command_id"),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("received_at", BigInteger, nullable=False),
    Column("org", String(32), nullable=False, server_default="", comment="empty: not a topic of the contract"),
    Column("machine", String(63), nullable=False, server_default="", comment="empty: not from a machine"),
    Column("topic", Text, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("payload_start", Text, nullable=False, comment="first 4 KiB, backslash-escaped where not UTF-8"),
    Index("ix_dead_letter_received_at", "received_at"),
    Index("ix_dead_letter_org_id", "org", "id"),
)

ingestor = Table(
    "ingestor",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("beat_at", BigInteger, nullable=False, comment="last heartbeat"),
    Column("broker_connected", Boolean, nullable=False),
    Column("counters", JSON, nullable=False, comment="since its start"),
    Column("epoch", Integer, nullable=False, server_default="0", comment="counts its starts and lost leases"),
)

lease = Table(
    "lease",
    metadata,
    Column("name", String(64), primary_key=True, comment="an organisation, or _timers"),
    Column("holder", String(64), nullable=False, comment="name of an ingestor; empty: not held"),
)
