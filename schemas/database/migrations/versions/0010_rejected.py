"""Record rejected samples in the ledger, name the sender of dead letters, and remove control characters from texts."""

import json
import re

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPED = "\\u00"
_SENDER = re.compile(r"[a-z]+/v1/([a-z0-9-]{1,32})/(?:([a-z0-9-]{1,63})/(?:up|down)/)?")


def upgrade() -> None:
    op.add_column(
        "stream",
        sa.Column(
            "rejected", sa.Text, nullable=False, server_default="", comment="rejected sequence numbers, likewise"
        ),
    )
    org = sa.Column(
        "org", sa.String(32), nullable=False, server_default="", comment="empty: not a topic of the contract"
    )
    machine = sa.Column(
        "machine", sa.String(63), nullable=False, server_default="", comment="empty: not from a machine"
    )
    op.add_column("dead_letter", org)
    op.add_column("dead_letter", machine)
    op.create_index("ix_dead_letter_org_id", "dead_letter", ["org", "id"])
    _name_senders()
    for table, key, columns in (("machine", "id", ("labels", "info", "desired")), ("command", "id", ("arguments",))):
        for column in columns:
            _clean(table, key, column)


def _name_senders() -> None:
    connection = op.get_bind()
    for id_, topic in connection.execute(sa.text("SELECT id, topic FROM dead_letter")).all():
        if (found := _SENDER.match(topic)) is not None:
            values = {"id": id_, "org": found[1], "machine": found[2] or ""}
            connection.execute(sa.text("UPDATE dead_letter SET org = :org, machine = :machine WHERE id = :id"), values)


def _clean(name: str, key: str, column: str) -> None:
    """Replace control characters in a column of JSON: PostgreSQL stores an escaped NUL, but fails to read it."""
    connection = op.get_bind()
    table = sa.table(name, sa.column(key), sa.column(column, sa.JSON))
    text = sa.cast(table.c[column], sa.Text)
    for id_, found in connection.execute(sa.select(table.c[key], text).where(text.contains(_ESCAPED))).all():
        change = sa.update(table).where(table.c[key] == id_).values({column: _cleaned(json.loads(found))})
        connection.execute(change)


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return _CONTROLS.sub("\ufffd", value)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(each) for name, each in value.items()}
    return value
