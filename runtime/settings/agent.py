"""Settings of the agent."""

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from runtime.settings.check_program import CheckProgram, require_interval
from runtime.settings.client import ClientSettings
from runtime.settings.part_settings import MachineId, OrgId, Seconds
from runtime.settings.probe import PROBES_MAX, Probe, check_patterns, require_different_targets
from schemas.actions.named_commands import CommandLine
from schemas.contract.files.transfer import FILE_MAX_BYTES
from schemas.contract.messages import Labels, MetricName

ALLOWED_ACTIONS = ("ping", "refresh", "top", "message", "restart", "configure", "update")
"""Actions allowed by default: those that cannot harm the machine, and `update`, which an installation must permit."""

CONTAINER_SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")

CommandName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$")]


def _require_plain(directories: list[Path]) -> list[Path]:
    for each in directories:
        if not each.is_absolute() or ".." in each.parts:
            raise ValueError(f"{each} must be an absolute path without ..")
    return directories


class AgentSettings(ClientSettings):
    """Settings of the agent of one machine."""

    part: ClassVar[str] = "agent"

    org: OrgId = Field("home", description="Organisation the machine belongs to")
    machine: MachineId = Field(description="Machine id in topics; derived from the hostname if unset")
    interval_seconds: Annotated[float, Field(ge=0.05, le=86_400)] = Field(10.0, description="Time between two samples")
    detail_interval_seconds: Annotated[float, Field(ge=0.05, le=86_400)] = Field(
        60.0, description="Time between two readings of devices (mounts, interfaces, containers) and lists"
    )
    compress_series: bool = Field(True, description="Send long lists of readings of devices compressed")
    labels: Labels = Field(default_factory=dict, description="Labels to group machines by")
    disk_path: Path | None = Field(
        None, description="File system whose usage is reported as the disk vital; the fullest local one if unset"
    )
    collectors_off: list[MetricName] = Field(
        default_factory=list, description="Collectors to switch off, by name (docs/collectors.md)"
    )
    mounts: list[str] = Field(
        default_factory=list,
        description="Mount points to report beside the local ones, with * for any characters; !PATTERN leaves some out",
    )
    interfaces: list[str] = Field(
        default_factory=list,
        description="Interfaces to report beside those of devices, with * for any characters; !PATTERN leaves some out",
    )
    containers: list[str] = Field(
        default_factory=list, description="Containers to report, with * for any characters; !PATTERN leaves some out"
    )
    container_sockets: list[Path] = Field(
        default_factory=lambda: [Path(path) for path in CONTAINER_SOCKETS],
        description="Unix sockets of Docker and Podman; those that do not exist are ignored",
    )
    services: list[str] = Field(
        default_factory=list, description="Services to report also while they are well, with * for any characters"
    )
    hardware_file: Path = Field(
        Path("/run/dashfleet/hardware.json"), description="File in which a timer of root's writes the state of disks"
    )
    nut_server: Annotated[str, Field(pattern=r"^([A-Za-z0-9.-]+(:\d{1,5})?)?$")] = Field(
        "", description="HOST or HOST:PORT of the upsd of Network UPS Tools; empty: this machine, if it has one"
    )
    process_arguments: bool = Field(
        False, description="Report the arguments of the top processes too, which may contain passwords"
    )
    checks: Annotated[dict[CommandName, CheckProgram], Field(max_length=64)] = Field(
        default_factory=dict, description="Checks by name: programs that are run regularly (docs/checks.md)"
    )
    check_files: Path | None = Field(
        None, description="Directory with readings in text files, as of node_exporter's textfile collector"
    )
    probes: Annotated[
        dict[CommandName, Probe], Field(max_length=PROBES_MAX), AfterValidator(require_different_targets)
    ] = Field(default_factory=dict, description="Reachability probes by name (docs/probes.md)")
    probe_targets: Annotated[list[str], Field(max_length=64), AfterValidator(check_patterns)] = Field(
        default_factory=list,
        description="Targets that operators may add probes of, as SCHEME://HOST[:PORT] with * for any characters",
    )
    ignored_sensors: list[str] = Field(
        default_factory=list,
        description="Temperature sensors to ignore, as CHIP or CHIP/LABEL; * stands for any characters",
    )
    collector_timeout_seconds: Seconds = Field(2.0, description="Time limit for all collectors of one sample together")
    outbox_max_bytes: Annotated[int, Field(ge=1 << 20)] = Field(
        64 << 20, description="Maximum size of the outbox on disk; the oldest samples are dropped first"
    )
    transfer_bytes_per_second: Annotated[int, Field(ge=1 << 10)] = Field(
        1 << 20, description="Bytes per second of files that this machine fetches from the server"
    )
    allowed_actions: list[MetricName] = Field(
        default_factory=lambda: list(ALLOWED_ACTIONS),
        description="Actions operators may run here; only this file or the environment can change the list",
    )
    push_directories: Annotated[list[Path], Field(max_length=64), AfterValidator(_require_plain)] = Field(
        default_factory=list, description="Directories into which the action push may write files"
    )
    pull_directories: Annotated[list[Path], Field(max_length=64), AfterValidator(_require_plain)] = Field(
        default_factory=list, description="Directories of which the action pull may send files to the server"
    )
    file_max_bytes: Annotated[int, Field(ge=1, le=FILE_MAX_BYTES)] = Field(
        64 << 20, description="Size of the largest file that push and pull transfer"
    )
    commands: Annotated[dict[CommandName, CommandLine], Field(max_length=64)] = Field(
        default_factory=dict, description="Named command lines for the action run"
    )
    controlled_containers: Annotated[list[str], Field(max_length=64)] = Field(
        default_factory=list,
        description="Containers that the action container may control, with * for any characters; !PATTERN excludes",
    )
    controlled_services: Annotated[list[str], Field(max_length=64)] = Field(
        default_factory=list,
        description="Services that the action service may control, with * for any characters; !PATTERN excludes",
    )
    service_command: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="argv of the action service; the elements {operation} and {service} are substituted"
    )
    reboot_command: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="argv of the action reboot; {minutes}, {seconds} and {notice} are substituted"
    )

    @model_validator(mode="after")
    def _are_read_in_time(self) -> Self:
        for kind, named in (("check", self.checks), ("probe", self.probes)):
            for name, each in named.items():
                require_interval(f"the {kind} {name}", each.interval_seconds, self.detail_interval_seconds)
        return self
