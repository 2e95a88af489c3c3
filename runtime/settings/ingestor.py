"""Settings of the ingestor."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from runtime.settings.address import ListenAddress, ListenText
from runtime.settings.client import ClientSettings
from runtime.settings.part_settings import Seconds
from runtime.urls import DatabaseUrl
from schemas.contract.files.transfer import FILE_MAX_BYTES
from schemas.contract.topics import MACHINE_MAX_LENGTH

IngestorName = Annotated[str, Field(pattern=r"^ingestor(-[a-z0-9]+)*$", max_length=MACHINE_MAX_LENGTH)]


class IngestorSettings(ClientSettings):
    """Settings of one ingestor. Limits per minute apply to what clients publish; the excess is dropped."""

    part: ClassVar[str] = "ingestor"

    name: IngestorName = Field(
        "ingestor", description="Name of this ingestor; with several, each has its own name and secret"
    )
    database: DatabaseUrl = Field(description="SQLAlchemy URL of the fleet database")
    backup_before_upgrade: bool = Field(
        True, description="Back the database up into the state directory before it is migrated to another version"
    )
    batch_max: Annotated[int, Field(ge=1, le=100_000)] = Field(
        2000, description="Maximum number of messages per transaction"
    )
    ack_seconds: Seconds = Field(2.0, description="Minimum time between two acknowledgements of a machine's samples")
    dead_letter_max: Annotated[int, Field(ge=0)] = Field(
        10_000, description="Maximum number of dead letters to keep of each organisation"
    )
    machine_messages_per_minute: Annotated[int, Field(ge=1)] = Field(
        3_000,
        description="Messages per minute of one machine or other client; the excess is dropped unacknowledged",
    )
    machine_bytes_per_minute: Annotated[int, Field(ge=1 << 20)] = Field(
        64 << 20, description="Bytes per minute of one machine or other client"
    )
    machine_samples_per_minute: Annotated[int, Field(ge=1000)] = Field(
        120_000, description="Samples in backfills per minute of one machine"
    )
    org_messages_per_minute: Annotated[int, Field(ge=1)] = Field(
        300_000, description="Messages per minute of all clients of an organisation"
    )
    org_bytes_per_minute: Annotated[int, Field(ge=1 << 20)] = Field(
        1 << 30, description="Bytes per minute of all clients of an organisation"
    )
    org_samples_per_minute: Annotated[int, Field(ge=1000)] = Field(
        3_000_000, description="Samples in backfills per minute of all machines of an organisation"
    )
    machine_transitions_per_hour: Annotated[int, Field(ge=1)] = Field(
        60, description="Presence transitions of one machine per hour stored as rows; those above are one row"
    )
    bundle: Path | None = Field(
        None, description="Directory of the files that machines install; bundle in the state directory if unset"
    )
    machine_file_bytes_per_second: Annotated[int, Field(ge=1 << 14)] = Field(
        1 << 20, description="Bytes per second of files sent to one machine"
    )
    org_file_bytes_per_second: Annotated[int, Field(ge=1 << 14)] = Field(
        8 << 20, description="Bytes per second of files sent to all machines of an organisation"
    )
    file_bytes_per_second: Annotated[int, Field(ge=1 << 14)] = Field(
        16 << 20, description="Bytes per second of files sent to all machines"
    )
    pulled_file_max_bytes: Annotated[int, Field(ge=1, le=FILE_MAX_BYTES)] = Field(
        64 << 20, description="Size of the largest file that is pulled from a machine"
    )
    machine_pulled_bytes: Annotated[int, Field(ge=1 << 20)] = Field(
        256 << 20, description="Total size of the files pulled from one machine"
    )
    org_file_bytes: Annotated[int, Field(ge=1 << 20)] = Field(
        2 << 30, description="Total size of the files of an organisation, pushed and pulled"
    )
    machine_pulled_files: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1000, description="Number of files pulled from one machine"
    )
    org_files: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        10_000, description="Number of files of an organisation, pushed and pulled"
    )
    file_days: Annotated[float, Field(gt=0, le=3650)] = Field(
        7.0, description="Days for which pushed and pulled files are kept"
    )
    metrics_listen: ListenText | None = Field(
        None, description="Address to serve /metrics and /healthz on, such as 127.0.0.1:9300; not served if unset"
    )

    @property
    def metrics_address(self) -> ListenAddress | None:
        """The parsed `metrics_listen`."""
        return None if self.metrics_listen is None else ListenAddress.parse(self.metrics_listen)
