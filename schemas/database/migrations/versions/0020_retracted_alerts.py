"""Keep the alerts that were retracted, and never give the number of an alert to another one."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retracted_alert",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False, comment="that of the alert"),
        sa.Column("machine_id", sa.Integer, sa.ForeignKey("machine.id", ondelete="CASCADE"), nullable=False),
        sa.Column("rule", sa.String(63), nullable=False),
        sa.Column("title", sa.String(64), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("detail", sa.String(256), nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("closed_at", sa.BigInteger, nullable=False, comment="when it was retracted"),
        sa.Column("past", sa.Boolean, nullable=False),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("unit", sa.String(32)),
        sa.Column("acknowledged_at", sa.BigInteger),
        sa.Column("acknowledged_by", sa.String(256)),
        sa.Column("acknowledged_comment", sa.String(500)),
        sa.Column("silenced_until", sa.BigInteger),
        sa.Column("silence_reason", sa.String(500)),
    )
    op.create_index("ix_retracted_alert_machine_id", "retracted_alert", ["machine_id"])
    op.create_index("ix_retracted_alert_closed_at", "retracted_alert", ["closed_at"])
    _rebuild_alerts(sqlite_autoincrement=True)


def downgrade() -> None:
    op.drop_table("retracted_alert")
    _rebuild_alerts(sqlite_autoincrement=False)


def _rebuild_alerts(*, sqlite_autoincrement: bool) -> None:
    """Have SQLite count the ids of alerts, as PostgreSQL does; else it gives that of the last row again."""
    if op.get_bind().dialect.name == "sqlite":
        arguments = {"sqlite_autoincrement": sqlite_autoincrement}
        with op.batch_alter_table("alert", recreate="always", table_kwargs=arguments):
            pass
