"""Settings common to all parts."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.contract.topics import ID_PATTERN, MACHINE_MAX_LENGTH, ORG_MAX_LENGTH

OrgId = Annotated[str, Field(pattern=ID_PATTERN, max_length=ORG_MAX_LENGTH)]
MachineId = Annotated[str, Field(pattern=ID_PATTERN, max_length=MACHINE_MAX_LENGTH)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class PartSettings(BaseModel):
    """Base of all settings. `part` names the table in the file and the middle of the environment variables."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    part: ClassVar[str]

    data: Path = Field(description="State directory, shared by the parts on one machine (DASHFLEET_DATA)")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Minimum level to log")
    log_format: Literal["text", "json"] = Field("text", description="Log format, one line per record")
    log_file: Path | None = Field(None, description="Log file; standard error if unset")
    log_file_max_bytes: Annotated[int, Field(ge=1 << 16)] = Field(
        10 << 20, description="Size at which the log file is rotated"
    )
    log_files_kept: Annotated[int, Field(ge=1, le=1000)] = Field(5, description="Number of rotated log files to keep")
