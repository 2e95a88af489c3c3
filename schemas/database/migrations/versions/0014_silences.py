"""Create the table of silences, and record who acknowledged an alert, its silence, and when its end became known."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SELECTOR = "schemas.contract.machine_selector.MachineSelector"


def upgrade() -> None:
    for column in _columns():
        op.add_column("alert", column)
    op.create_index("ix_alert_closed_at", "alert", ["closed_at"])
    op.get_bind().execute(sa.text("UPDATE alert SET closed_at = ended_at"))
    op.create_table(
        "silence",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("org_id", sa.Integer, sa.ForeignKey("org.id", ondelete="CASCADE"), nullable=False),
        sa.Column("selector", sa.JSON, nullable=False, comment=_SELECTOR),
        sa.Column("rule", sa.String(63), nullable=False, server_default="", comment="empty: all rules"),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, comment="null: weekly until it is ended"),
        sa.Column("weekly", sa.JSON, comment="schemas.contract.alerts.Weekly; null: once"),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(256), nullable=False, comment="the actor, for display"),
        sa.Column("ended_at", sa.BigInteger, comment="when somebody ended it; null: nobody did"),
        sa.Column("ended_by", sa.String(256)),
    )
    op.create_index("ix_silence_org_id", "silence", ["org_id"])


def downgrade() -> None:
    op.drop_table("silence")
    op.drop_index("ix_alert_closed_at", "alert")
    for column in _columns():
        op.drop_column("alert", column.name)


def _columns() -> list[sa.Column[object]]:
    return [
        sa.Column("closed_at", sa.BigInteger, comment="when the end became known; null: open"),
        sa.Column("past", sa.Boolean, nullable=False, server_default="0", comment="was over when it became known"),
        sa.Column("value", sa.Float, comment="reading that began it"),
        sa.Column("unit", sa.String(32), comment="of the value"),
        sa.Column("acknowledged_at", sa.BigInteger, comment="null: not acknowledged"),
        sa.Column("acknowledged_by", sa.String(256), comment="the person, as the principal stated"),
        sa.Column("acknowledged_comment", sa.String(500)),
        sa.Column("silenced_until", sa.BigInteger, comment="end of the silence that applies; null: none applies"),
        sa.Column("silence_reason", sa.String(500)),
    ]
