"""Tokens, rotation, signing keys, requests and commands."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "key_change",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("org_id", sa.Integer(), nullable=False),
        sa.Column(
            "statement", sa.Text(), nullable=False, comment="schemas.contract.signing.KeyChange, as it was signed"
        ),
        sa.Column("key", sa.String(length=16), nullable=False, comment="the key that signed"),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["org.id"], name=op.f("fk_key_change_org_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_change")),
    )
    with op.batch_alter_table("key_change", schema=None) as batch_op:
        batch_op.create_index("ix_key_change_org_id", ["org_id"], unique=False)

    op.create_table(
        "request",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("org_id", sa.Integer(), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False, comment="the username that published it"),
        sa.Column("actor", sa.String(length=256), nullable=False, comment="who asked, by the principal's word"),
        sa.Column("kind", sa.String(length=32), nullable=False, comment="act, cancel, …"),
        sa.Column("batch", sa.String(length=32), nullable=False, comment="requests of one selection share it"),
        sa.Column("rollout", sa.JSON(), nullable=True, comment="schemas.contract.commands.Rollout"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="accepted, refused, stopped"),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["org.id"], name=op.f("fk_request_org_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request")),
    )
    with op.batch_alter_table("request", schema=None) as batch_op:
        batch_op.create_index("ix_request_batch", ["batch"], unique=False)
        batch_op.create_index("ix_request_org_id_created_at", ["org_id", "created_at"], unique=False)

    op.create_table(
        "token",
        sa.Column("username", sa.String(length=128), nullable=False, comment="role enrol"),
        sa.Column("uses", sa.Integer(), nullable=False, comment="how many machines it may make"),
        sa.Column("used", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False, comment="who made it, for people"),
        sa.ForeignKeyConstraint(
            ["username"], ["principal.username"], name=op.f("fk_token_username"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_token")),
    )
    op.create_table(
        "command",
        sa.Column("id", sa.String(length=32), nullable=False, comment="of the order"),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False, comment="schemas.contract.commands.Order, as it was signed"),
        sa.Column("key", sa.String(length=16), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False, comment="schemas.contract.commands.State"),
        sa.Column("reason", sa.String(length=32), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("output_truncated", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True, comment="the last attempt"),
        sa.Column("running_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True, comment="when it came to a final state, or timed out"),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_command_machine_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["request_id"], ["request.id"], name=op.f("fk_command_request_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_command")),
    )
    with op.batch_alter_table("command", schema=None) as batch_op:
        batch_op.create_index("ix_command_machine_id_created_at", ["machine_id", "created_at"], unique=False)
        batch_op.create_index("ix_command_request_id", ["request_id"], unique=False)
        batch_op.create_index("ix_command_state", ["state"], unique=False)

    op.create_table(
        "enrolment",
        sa.Column(
            "nonce", sa.String(length=32), nullable=False, comment="of the request: the same one gets the same answer"
        ),
        sa.Column("token", sa.String(length=128), nullable=False),
        sa.Column("machine", sa.String(length=63), nullable=False, comment="the id it was given"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["token"], ["token.username"], name=op.f("fk_enrolment_token"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_enrolment")),
    )
    with op.batch_alter_table("enrolment", schema=None) as batch_op:
        batch_op.create_index("ix_enrolment_token", ["token"], unique=False)

    op.create_table(
        "command_transition",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("command_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=False, comment="empty for the first"),
        sa.Column("after", sa.String(length=16), nullable=False),
        sa.Column("by", sa.String(length=256), nullable=False, comment="a principal, the machine, or the ingestor"),
        sa.Column("reason", sa.String(length=32), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["command_id"], ["command.id"], name=op.f("fk_command_transition_command_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_command_transition")),
    )
    with op.batch_alter_table("command_transition", schema=None) as batch_op:
        batch_op.create_index("ix_command_transition_command_id", ["command_id"], unique=False)

    with op.batch_alter_table("machine", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "desired_version",
                sa.Integer(),
                server_default="0",
                nullable=False,
                comment="of the last configure; 0: none",
            )
        )
        batch_op.add_column(
            sa.Column(
                "desired", sa.JSON(), nullable=True, comment="schemas.contract.commands.Desired, as it is published"
            )
        )

    with op.batch_alter_table("principal", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "previous_secret_hash",
                sa.String(length=200),
                nullable=True,
                comment="also let in until previous_until, after a rotation",
            )
        )
        batch_op.add_column(sa.Column("previous_until", sa.BigInteger(), nullable=True))

    with op.batch_alter_table("state", schema=None) as batch_op:
        batch_op.alter_column("reason", existing_type=sa.VARCHAR(length=32), server_default="", existing_nullable=False)
