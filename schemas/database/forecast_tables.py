"""Tables of forecasts, which the ingestor makes of the history some times a day.

Invariants:
- Those of `schemas.database.tables`.
- The forecasts of a machine's file systems are replaced in the transaction that writes the one of its disk.
"""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, String, Table

from schemas.database.metadata import metadata

disk_forecast = Table(
    "disk_forecast",
    metadata,
    Column("machine_id", ForeignKey("machine.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("outlook", String(16), nullable=False, comment="schemas.fleet.forecast.Outlook"),
    Column("per_day", Float, comment="percentage points"),
    Column("full_at", BigInteger, comment="when the disk will be full; null: not within a year, or not known"),
    Column("made_at", BigInteger, nullable=False),
    Index("ix_disk_forecast_made_at", "made_at"),
)

mount_forecast = Table(
    "mount_forecast",
    metadata,
    Column("machine_id", ForeignKey("machine.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("mount", String(128), primary_key=True, comment="device of the series disk_used_percent"),
    Column("outlook", String(16), nullable=False, comment="schemas.fleet.forecast.Outlook"),
    Column("per_day", Float, comment="percentage points"),
    Column("full_at", BigInteger, comment="when it will be full; null: not within a year, or not known"),
)
