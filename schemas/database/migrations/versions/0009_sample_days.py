"""Samples by day on PostgreSQL (`ingestor.history.partitions`). Those that are there stay where they are, as one old part."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

DAY = 86_400_000
KEY = "machine_id, sampled_at, stream_number, seq"
OF_A_MACHINE = "FOREIGN KEY (machine_id) REFERENCES machine (id) ON DELETE CASCADE"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    end = (time.time_ns() // 1_000_000 // DAY + 1) * DAY
    later = f"DELETE FROM sample_before WHERE sampled_at >= {end} RETURNING *"  # noqa: S608 - a number
    for statement in (
        "ALTER TABLE sample RENAME TO sample_before",
        "ALTER TABLE sample_before RENAME CONSTRAINT pk_sample TO pk_sample_before",
        "ALTER TABLE sample_before RENAME CONSTRAINT fk_sample_machine_id TO fk_sample_before_machine_id",
        "CREATE TABLE sample (LIKE sample_before INCLUDING DEFAULTS INCLUDING COMMENTS) PARTITION BY RANGE (sampled_at)",
        f"ALTER TABLE sample ADD CONSTRAINT pk_sample PRIMARY KEY ({KEY})",
        f"ALTER TABLE sample ADD CONSTRAINT fk_sample_machine_id {OF_A_MACHINE}",
        # Few samples are of a clock that is wrong: dropping a day finds them without reading all of it.
        "CREATE INDEX ix_sample_wrong_clock ON sample (machine_id) WHERE clock_offset_milliseconds <> 0",
        "CREATE TABLE sample_other PARTITION OF sample DEFAULT",
        f"WITH later AS ({later}) INSERT INTO sample SELECT * FROM later",  # noqa: S608
    ):
        op.execute(statement)
    if op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT 1 FROM sample_before)")):
        op.execute(f"ALTER TABLE sample ATTACH PARTITION sample_before FOR VALUES FROM (MINVALUE) TO ({end})")
    else:
        op.execute("DROP TABLE sample_before")
