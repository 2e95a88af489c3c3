"""Tables of the people's database for notifications: destinations, templates, what was told, deliveries, reports.

Invariants:
- A URL of a destination is stored encrypted (`schemas.people.secret_box`); `shown` is its masked form.
- Every row belongs to one organisation, which each query names.
"""

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()
NAME_MAX: Final = 64

destination = Table(
    "destination",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("org", String(32), nullable=False),
    Column("owner", String(64), nullable=False, comment="a user, or empty for the organisation's own"),
    Column("name", String(NAME_MAX), nullable=False),
    Column("service", String(32), nullable=False, comment="the scheme of the URL"),
    Column("url_sealed", Text, nullable=False, comment="AES-GCM"),
    Column("shown", String(200), nullable=False, comment="the URL without its secrets"),
    Column("allow_private", Boolean, nullable=False, comment="set by the server's owner"),
    Column("preferences", JSON, nullable=False, comment="schemas.people.routing.Preferences"),
    Column("routes", JSON, nullable=False, comment="list of schemas.people.routing.Route"),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column(
        "routed_at", BigInteger, nullable=False, server_default="0", comment="when routes or preferences last changed"
    ),
    Index("destination_name", "org", "owner", "name", unique=True),
    sqlite_autoincrement=True,  # an id in a delivery or a mark is never that of a later destination
)

person_preference = Table(
    "person_preference",
    metadata,
    Column("org", String(32), primary_key=True),
    Column("owner", String(64), primary_key=True),
    Column("preferences", JSON, nullable=False),
)

message_template = Table(
    "message_template",
    metadata,
    Column("org", String(32), primary_key=True),
    Column("language", String(8), primary_key=True),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
)

known_problem = Table(
    "known_problem",
    metadata,
    Column("org", String(32), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("problem", JSON, nullable=False, comment="notifier.domain.problem.Problem"),
    Column("first_seen_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=True, index=True),
)

told = Table(
    "told",
    metadata,
    Column("org", String(32), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("destination_id", Integer, primary_key=True),
    Column("kind", String(16), primary_key=True, comment="notifier.domain.problem.NoticeKind"),
    Column("at", BigInteger, nullable=False),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("org", String(32), nullable=False),
    Column("destination_id", ForeignKey(destination.c.id, ondelete="SET NULL"), nullable=True),
    Column("destination", String(NAME_MAX), nullable=False, comment="its name, kept when it is removed"),
    Column("owner", String(64), nullable=False),
    Column("kind", String(16), nullable=False, comment="alerts, test or report"),
    Column("state", String(16), nullable=False, comment="queued, sent, failed or cancelled"),
    Column("created_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False, comment="earliest time of the next attempt"),
    Column("finished_at", BigInteger, nullable=True),
    Column("items", Integer, nullable=False, comment="number of alerts in the message"),
    Column("title", String(200), nullable=False),
    Column("content", JSON, nullable=True, comment="what the message is made of; null once it is finished"),
    Column("answer", String(500), nullable=False, comment="of the service"),
    Column("error", String(500), nullable=False),
    Index("delivery_log", "org", "created_at"),
    Index("delivery_queue", "state", "next_at"),
)

report_schedule = Table(
    "report_schedule",
    metadata,
    Column("destination_id", ForeignKey(destination.c.id, ondelete="CASCADE"), primary_key=True),
    Column("org", String(32), nullable=False),
    Column("period", String(8), primary_key=True, comment="week or month"),
    Column("hour", Integer, nullable=False, comment="local time in the destination's zone"),
    Column("next_at", BigInteger, nullable=False),
)
