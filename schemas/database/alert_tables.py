"""Tables of incidents, alert rules, alerts and silences.

Invariants:
- Those of `schemas.database.tables`.
- A rule belongs to one organisation, in which its name is unique. Its alerts refer to it by name, and outlive it.
- Acknowledging and silencing an alert change neither its begin nor its end.
- An alert that late data show never to have been moves to `retracted_alert`, from which its end is published after a
  restart; no page shows it. The id of an alert is never that of another one: readers know alerts by it.
- A pending decision is written in the transaction of what began its duration, and is deleted with its end.
"""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, ForeignKey, Index, String, Table, UniqueConstraint

from schemas.database.columns import BigId
from schemas.database.metadata import metadata

incident = Table(
    "incident",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("org_id", ForeignKey("org.id", ondelete="CASCADE"), nullable=True, comment="null: whole system"),
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
    Column("machine_id", ForeignKey("machine.id", ondelete="CASCADE"), nullable=False),
    Column("rule", String(63), nullable=False, comment="name of an alert rule"),
    Column("title", String(64), nullable=False),
    Column("severity", String(16), nullable=False, comment="warning, critical"),
    Column("detail", String(256), nullable=False, server_default=""),
    Column("started_at", BigInteger, nullable=False, comment="start of the condition"),
    Column("ended_at", BigInteger, comment="null: open"),
    Column("closed_at", BigInteger, comment="when the end became known; null: open"),
    Column("past", Boolean, nullable=False, server_default="0", comment="was over when it became known"),
    Column("withdrawn", Boolean, nullable=False, server_default="0", comment="ended without its condition ending"),
    Column("value", Float, comment="reading that began it"),
    Column("unit", String(32), comment="of the value"),
    Column("acknowledged_at", BigInteger, comment="null: not acknowledged"),
    Column("acknowledged_by", String(256), comment="the person, as the principal stated"),
    Column("acknowledged_comment", String(500)),
    Column("silenced_until", BigInteger, comment="end of the silence that applies; null: none applies"),
    Column("silence_reason", String(500)),
    Index("ix_alert_machine_id_started_at", "machine_id", "started_at"),
    Index("ix_alert_ended_at", "ended_at"),
    Index("ix_alert_started_at", "started_at"),
    Index("ix_alert_closed_at", "closed_at"),
    sqlite_autoincrement=True,
)

retracted_alert = Table(
    "retracted_alert",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False, comment="that of the alert"),
    Column("machine_id", ForeignKey("machine.id", ondelete="CASCADE"), nullable=False),
    Column("rule", String(63), nullable=False),
    Column("title", String(64), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("detail", String(256), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger, nullable=False, comment="when it was retracted"),
    Column("past", Boolean, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    Column("value", Float),
    Column("unit", String(32)),
    Column("acknowledged_at", BigInteger),
    Column("acknowledged_by", String(256)),
    Column("acknowledged_comment", String(500)),
    Column("silenced_until", BigInteger),
    Column("silence_reason", String(500)),
    Index("ix_retracted_alert_machine_id", "machine_id"),
    Index("ix_retracted_alert_closed_at", "closed_at"),
)

pending_decision = Table(
    "pending_decision",
    metadata,
    Column("machine_id", ForeignKey("machine.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("rule", String(63), primary_key=True, comment="one that no sample decides"),
    Column(
        "since", BigInteger, nullable=False, comment="when the condition of the rule began, or ended if it is active"
    ),
    Column("value", Float, comment="value at that time"),
    Column("device", String(200), nullable=False, comment="device or item that the value is of"),
)

silence = Table(
    "silence",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("org_id", ForeignKey("org.id", ondelete="CASCADE"), nullable=False),
    Column("selector", JSON, nullable=False, comment="schemas.contract.machine_selector.MachineSelector"),
    Column("rule", String(63), nullable=False, server_default="", comment="empty: all rules"),
    Column("starts_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, comment="null: weekly until it is ended"),
    Column("weekly", JSON, comment="schemas.contract.alerts.Weekly; null: once"),
    Column("reason", String(500), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(256), nullable=False, comment="the actor, for display"),
    Column("ended_at", BigInteger, comment="when somebody ended it; null: nobody did"),
    Column("ended_by", String(256)),
    Index("ix_silence_org_id", "org_id"),
)

alert_rule = Table(
    "alert_rule",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("org_id", ForeignKey("org.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(63), nullable=False, comment="id; the last level of the topic of its alerts"),
    Column("title", String(64), nullable=False),
    Column("kind", String(16), nullable=False, comment="schemas.contract.alert_rules.Kind"),
    Column("metric", String(63), nullable=False, server_default="", comment="vital, extra metric or fact; empty: none"),
    Column(
        "device",
        String(128),
        nullable=False,
        server_default="",
        comment="pattern of the devices of a series; empty: not about devices",
    ),
    Column("threshold", Float, comment="null: from the health parameters of the organisation"),
    Column("for_seconds", Float, nullable=False),
    Column("clear_threshold", Float, comment="null: the threshold"),
    Column("clear_seconds", Float, nullable=False),
    Column("severity", String(16), nullable=False, comment="warning, critical"),
    Column("selector", JSON, nullable=False, comment="schemas.contract.alert_rules.Selector"),
    Column("enabled", Boolean, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
)
