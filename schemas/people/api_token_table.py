"""The table of API tokens in the people's database, which the dashboard and the command line share."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, UniqueConstraint

metadata = MetaData()

api_token = Table(
    "api_token",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("org", String(32), nullable=False),
    Column("name", String(63), nullable=False, comment="the program that has it"),
    Column("role", String(16), nullable=False, comment="dashboard.auth.users.UserRole"),
    Column("token_hash", String(64), nullable=False, unique=True, comment="SHA-256; a token has 256 random bits"),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, comment="last use, to the minute; null: never used"),
    UniqueConstraint("org", "name"),
)
