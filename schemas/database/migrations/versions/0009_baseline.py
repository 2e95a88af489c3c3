"""Create every table of the fleet database.

The baseline replaces the nine migrations before the first release. It has the revision of the last one, so that a
database that they made is current.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = None
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FRACTIONS = ("cpu_percent", "memory_percent", "disk_percent", "swap_percent", "load_1m", "temperature_celsius")
_VITALS = (
    "cpu_percent",
    "memory_percent",
    "memory_used_bytes",
    "disk_percent",
    "disk_used_bytes",
    "swap_percent",
    "uptime_seconds",
    "load_1m",
    "network_received_bytes",
    "network_sent_bytes",
    "process_count",
    "temperature_celsius",
)


def upgrade() -> None:
    op.create_table(
        "org",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(32), nullable=False, unique=True),
        sa.Column("config", sa.JSON, nullable=False, comment="schemas.contract.org_config.OrgConfig"),
        sa.Column("retention", sa.JSON, comment="schemas.fleet.history.Retention; null: defaults"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )

    op.create_table(
        "principal",
        sa.Column("username", sa.String(128), primary_key=True, comment="equals the MQTT client id"),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("org", sa.String(32), nullable=False, comment="empty: a principal of the system"),
        sa.Column("name", sa.String(64), nullable=False, comment="machine id, or the name after the underscore"),
        sa.Column("secret_hash", sa.String(200), nullable=False, comment="Mosquitto's $7$ form: PBKDF2-SHA512"),
        sa.Column("bcrypt", sa.String(60), comment="the secret for NATS; null: the plain secret was not known"),
        sa.Column(
            "previous_secret_hash", sa.String(200), comment="still accepted until previous_until, after a rotation"
        ),
        sa.Column("previous_until", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )

    op.create_table(
        "token",
        sa.Column(
            "username",
            sa.String(128),
            sa.ForeignKey("principal.username", ondelete="CASCADE"),
            primary_key=True,
            comment="role enrol",
        ),
        sa.Column("uses", sa.Integer, nullable=False, comment="number of machines that may enrol"),
        sa.Column("used", sa.Integer, nullable=False, server_default="0"),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False, comment="the actor, for display"),
    )

    op.create_table(
        "enrolment",
        sa.Column(
            "nonce", sa.String(32), primary_key=True, comment="of the request; a repeated request gets the same answer"
        ),
        sa.Column("token", sa.String(128), sa.ForeignKey("token.username", ondelete="CASCADE"), nullable=False),
        sa.Column("machine", sa.String(63), nullable=False, comment="assigned machine id"),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Index("ix_enrolment_token", "token"),
    )

    op.create_table(
        "key_change",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("org_id", sa.Integer, sa.ForeignKey("org.id", ondelete="CASCADE"), nullable=False),
        sa.Column("statement", sa.Text, nullable=False, comment="schemas.contract.signing.KeyChange as signed"),
        sa.Column("key", sa.String(16), nullable=False, comment="id of the signing key"),
        sa.Column("signature", sa.String(128), nullable=False),
        sa.Index("ix_key_change_org_id", "org_id"),
    )

    op.create_table(
        "machine",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("org_id", sa.Integer, sa.ForeignKey("org.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String(63), nullable=False, comment="machine id, as in topics"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("hostname", sa.String(256)),
        sa.Column("os", sa.String(256)),
        sa.Column("os_version", sa.String(256)),
        sa.Column("agent_version", sa.String(256)),
        sa.Column("hardware_id", sa.String(32)),
        sa.Column("labels", sa.JSON),
        sa.Column("info", sa.JSON, comment="last schemas.contract.messages.Info, complete"),
        sa.Column(
            "desired_version", sa.Integer, nullable=False, server_default="0", comment="of the last configure; 0: none"
        ),
        sa.Column("desired", sa.JSON, comment="schemas.contract.commands.Desired as published"),
        sa.UniqueConstraint("org_id", "name"),
    )

    op.create_table(
        "state",
        _machine_key(),
        sa.Column("presence", sa.String(16), nullable=False, comment="ingestor.domain.presence.Presence"),
        sa.Column("reason", sa.String(32), nullable=False, server_default="", comment="of the last transition"),
        sa.Column("since_at", sa.BigInteger, nullable=False, comment="of the last transition"),
        sa.Column(
            "verified", sa.Boolean, nullable=False, comment="false: not heard since the ingestor lost the broker"
        ),
        sa.Column("connected", sa.Boolean, nullable=False, comment="according to the last status"),
        sa.Column("session", sa.BigInteger, nullable=False),
        sa.Column("interval_seconds", sa.Float, nullable=False),
        sa.Column("last_seen_at", sa.BigInteger, comment="arrival of the last live message"),
        sa.Column(
            "clock_offset_milliseconds", sa.BigInteger, comment="server clock minus machine clock, from live messages"
        ),
        sa.Column("sampled_at", sa.BigInteger, comment="machine clock, of these vitals"),
        *_vitals(sa.Float),
        sa.Column("extra", sa.JSON),
        sa.Column("health_score", sa.Integer),
        sa.Column("health_status", sa.String(16), nullable=False, server_default="unknown"),
        sa.Column("writer", sa.BigInteger, comment="ingestor run that last wrote this and the streams"),
        sa.Index("ix_state_presence", "presence"),
    )

    op.create_table(
        "sample",
        _machine_key(),
        sa.Column("sampled_at", sa.BigInteger, primary_key=True, autoincrement=False, comment="machine clock"),
        sa.Column(
            "stream_number",
            sa.Integer,
            primary_key=True,
            autoincrement=False,
            comment="stream.number",
        ),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column(
            "delay_milliseconds", sa.BigInteger, nullable=False, comment="arrival by the server clock minus sampled_at"
        ),
        sa.Column("clock_offset_milliseconds", sa.BigInteger, nullable=False, server_default="0"),
        *_vitals(sa.Integer),
        sa.Column("extra", sa.JSON),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (sampled_at)",
    )

    _create_rollup(
        "minute",
        sa.Column("sampled_from", sa.BigInteger, nullable=False, comment="range of its samples, machine clock"),
        sa.Column("sampled_to", sa.BigInteger, nullable=False),
    )

    _create_rollup("hour")

    op.create_table(
        "dirty",
        _machine_key(),
        sa.Column(
            "length", sa.Integer, primary_key=True, autoincrement=False, comment="milliseconds: a minute or an hour"
        ),
        sa.Column(
            "at", sa.BigInteger, primary_key=True, autoincrement=False, comment="start of the interval, server clock"
        ),
        sa.Column("due_at", sa.BigInteger, nullable=False, comment="earliest time of the roll-up"),
        sa.Column("sampled_from", sa.BigInteger, comment="range of the new samples, machine clock; minutes only"),
        sa.Column("sampled_to", sa.BigInteger),
        sa.Index("ix_dirty_length_due_at", "length", "due_at"),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "pruned",
        _machine_key(),
        sa.Column(
            "samples_before",
            sa.BigInteger,
            nullable=False,
            comment="samples of earlier minutes are rolled up and deleted",
        ),
        sa.Column("minutes_before", sa.BigInteger, nullable=False, comment="minutes of earlier hours, likewise"),
    )

    op.create_table(
        "stream",
        _machine_key(),
        sa.Column("name", sa.String(16), primary_key=True, comment="stream id given by the outbox"),
        sa.Column("number", sa.Integer, nullable=False, comment="counts a machine's streams from 1"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("highest_seq", sa.BigInteger, nullable=False, comment="highest sequence number reported"),
        sa.Column(
            "oldest_seq", sa.BigInteger, nullable=False, comment="smallest sequence number in the outbox, as reported"
        ),
        sa.Column("dropped", sa.BigInteger, nullable=False, comment="samples dropped by the outbox, as reported"),
        sa.Column("late", sa.BigInteger, nullable=False, comment="samples stored from a backfill"),
        sa.Column("duplicate", sa.BigInteger, nullable=False, comment="samples received again after they were stored"),
        sa.Column(
            "stored", sa.Text, nullable=False, comment="stored sequence numbers, as text of schemas.fleet.ranges"
        ),
        sa.Column(
            "booted_at", sa.BigInteger, comment="boot time of the machine, server clock; a stream belongs to one boot"
        ),
    )

    op.create_table(
        "transition",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("machine_id", sa.Integer, sa.ForeignKey("machine.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("before", sa.String(16), nullable=False),
        sa.Column("after", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("session", sa.BigInteger, nullable=False),
        sa.Index("ix_transition_machine_id_at", "machine_id", "at"),
    )

    op.create_table(
        "incident",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column(
            "org_id",
            sa.Integer,
            sa.ForeignKey("org.id", ondelete="CASCADE"),
            nullable=True,
            comment="null: whole system",
        ),
        sa.Column("kind", sa.String(32), nullable=False, comment="mass-silence, blind, cloned-identity"),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Index("ix_incident_started_at", "started_at"),
    )

    op.create_table(
        "alert",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("machine_id", sa.Integer, sa.ForeignKey("machine.id", ondelete="CASCADE"), nullable=False),
        sa.Column("rule", sa.String(63), nullable=False, comment="name of an alert rule"),
        sa.Column("title", sa.String(64), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False, comment="warning, critical"),
        sa.Column("detail", sa.String(256), nullable=False, server_default=""),
        sa.Column("started_at", sa.BigInteger, nullable=False, comment="start of the condition"),
        sa.Column("ended_at", sa.BigInteger, comment="null: open"),
        sa.Index("ix_alert_machine_id_started_at", "machine_id", "started_at"),
        sa.Index("ix_alert_ended_at", "ended_at"),
    )

    op.create_table(
        "request",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("org_id", sa.Integer, sa.ForeignKey("org.id", ondelete="CASCADE"), nullable=False),
        sa.Column("principal", sa.String(128), nullable=False, comment="username of the publisher"),
        sa.Column("actor", sa.String(256), nullable=False, comment="the person, as the principal states"),
        sa.Column("kind", sa.String(32), nullable=False, comment="act, cancel, …"),
        sa.Column("batch", sa.String(32), nullable=False, comment="shared by the requests of one selection"),
        sa.Column("rollout", sa.JSON, comment="schemas.contract.commands.Rollout"),
        sa.Column("state", sa.String(16), nullable=False, comment="accepted, refused, stopped"),
        sa.Column("detail", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Index("ix_request_org_id_created_at", "org_id", "created_at"),
        sa.Index("ix_request_batch", "batch"),
    )

    op.create_table(
        "command",
        sa.Column("id", sa.String(32), primary_key=True, comment="id of the order"),
        sa.Column("machine_id", sa.Integer, sa.ForeignKey("machine.id", ondelete="CASCADE"), nullable=False),
        sa.Column("request_id", sa.String(32), sa.ForeignKey("request.id", ondelete="CASCADE"), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("arguments", sa.JSON, nullable=False),
        sa.Column("statement", sa.Text, nullable=False, comment="schemas.contract.commands.Order as signed"),
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("signature", sa.String(128), nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False, comment="schemas.contract.commands.CommandState"),
        sa.Column("reason", sa.String(32), nullable=False, server_default=""),
        sa.Column("detail", sa.Text, nullable=False, server_default=""),
        sa.Column("exit_code", sa.BigInteger),
        sa.Column("output", sa.Text),
        sa.Column("output_truncated", sa.Boolean, nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("sent_at", sa.BigInteger, comment="last attempt"),
        sa.Column("running_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger, comment="when it reached a final state, or timed out"),
        sa.Index("ix_command_machine_id_created_at", "machine_id", "created_at"),
        sa.Index("ix_command_request_id", "request_id"),
        sa.Index("ix_command_state", "state"),
    )

    op.create_table(
        "command_transition",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("command_id", sa.String(32), sa.ForeignKey("command.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("before", sa.String(16), nullable=False, comment="empty: first transition"),
        sa.Column("after", sa.String(16), nullable=False),
        sa.Column("by", sa.String(256), nullable=False, comment="a principal, the machine or the ingestor"),
        sa.Column("reason", sa.String(32), nullable=False, server_default=""),
        sa.Column("detail", sa.Text, nullable=False, server_default=""),
        sa.Index("ix_command_transition_command_id", "command_id"),
    )

    op.create_table(
        "dead_letter",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("payload_start", sa.Text, nullable=False, comment="first 4 KiB, backslash-escaped where not UTF-8"),
        sa.Index("ix_dead_letter_received_at", "received_at"),
    )

    op.create_table(
        "ingestor",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("beat_at", sa.BigInteger, nullable=False, comment="last heartbeat"),
        sa.Column("broker_connected", sa.Boolean, nullable=False),
        sa.Column("counters", sa.JSON, nullable=False, comment="since its start"),
        sa.Column("epoch", sa.Integer, nullable=False, server_default="0", comment="counts its starts and lost leases"),
    )

    op.create_table(
        "lease",
        sa.Column("name", sa.String(64), primary_key=True, comment="an organisation, or _timers"),
        sa.Column("holder", sa.String(64), nullable=False, comment="name of an ingestor; empty: not held"),
    )

    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE sample_other PARTITION OF sample DEFAULT")
        # Few samples come from a machine whose clock is wrong: dropping a day finds them without reading all of it.
        op.execute("CREATE INDEX ix_sample_wrong_clock ON sample (machine_id) WHERE clock_offset_milliseconds <> 0")


def _machine_key() -> sa.Column:
    key = sa.ForeignKey("machine.id", ondelete="CASCADE")
    return sa.Column("machine_id", sa.Integer, key, primary_key=True, autoincrement=False)


def _vitals(fraction: type) -> list[sa.Column]:
    return [sa.Column(name, fraction if name in _FRACTIONS else sa.BigInteger) for name in _VITALS]


def _summaries() -> list[sa.Column]:
    columns = []
    for vital in _vitals(sa.Integer):
        columns.append(sa.Column(f"{vital.name}_count", sa.Integer, nullable=False))
        types = {"min": vital.type, "avg": sa.Float(), "max": vital.type}
        columns += [sa.Column(f"{vital.name}_{part}", type_) for part, type_ in types.items()]
    return columns


def _create_rollup(name: str, *sampled: sa.Column) -> None:
    op.create_table(
        name,
        _machine_key(),
        sa.Column(
            "at", sa.BigInteger, primary_key=True, autoincrement=False, comment="start of the interval, server clock"
        ),
        sa.Column("samples", sa.Integer, nullable=False),
        *sampled,
        *_summaries(),
        sa.Column("extra", sa.JSON, comment="metric: [count, minimum, average, maximum]"),
        sqlite_with_rowid=False,
    )
