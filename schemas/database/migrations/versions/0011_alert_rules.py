"""Create the table of alert rules, with the six rules that were fixed before, for every organisation."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_RULES = (
    ("away", "Machine offline", "away", "", None, 60.0, 0.0, "critical"),
    ("clock", "Clock off", "clock", "", 60.0, 300.0, 60.0, "warning"),
    ("cpu", "High CPU usage", "above", "cpu_percent", None, 300.0, 60.0, "warning"),
    ("disk", "Disk nearly full", "above", "disk_percent", None, 60.0, 60.0, "critical"),
    ("memory", "Memory nearly full", "above", "memory_percent", None, 300.0, 60.0, "critical"),
    ("unmeasured", "Metrics unavailable", "no-data", "", None, 600.0, 60.0, "warning"),
)


def upgrade() -> None:
    table = op.create_table(
        "alert_rule",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("org_id", sa.Integer, sa.ForeignKey("org.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String(63), nullable=False, comment="id; the last level of the topic of its alerts"),
        sa.Column("title", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False, comment="schemas.contract.alert_rules.Kind"),
        sa.Column(
            "metric",
            sa.String(63),
            nullable=False,
            server_default="",
            comment="vital, extra metric or fact; empty: none",
        ),
        sa.Column("threshold", sa.Float, comment="null: from the health parameters of the organisation"),
        sa.Column("for_seconds", sa.Float, nullable=False),
        sa.Column("clear_threshold", sa.Float, comment="null: the threshold"),
        sa.Column("clear_seconds", sa.Float, nullable=False),
        sa.Column("severity", sa.String(16), nullable=False, comment="warning, critical"),
        sa.Column("selector", sa.JSON, nullable=False, comment="schemas.contract.alert_rules.Selector"),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("org_id", "name"),
    )
    connection = op.get_bind()
    names = ("name", "title", "kind", "metric", "threshold", "for_seconds", "clear_seconds", "severity")
    for id_, created_at in connection.execute(sa.text("SELECT id, created_at FROM org")).all():
        rest = {"org_id": id_, "selector": {}, "enabled": True, "changed_at": created_at}
        op.bulk_insert(table, [{**dict(zip(names, rule, strict=True)), **rest} for rule in _RULES])


def downgrade() -> None:
    op.drop_table("alert_rule")
