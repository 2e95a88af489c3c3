"""Graphics processors of NVIDIA and AMD."""

from collections.abc import Iterator
from pathlib import Path

from agent.collector import DetailCollector, Details
from agent.host.calls.program import find_program, run_program
from agent.host.small_files import read_number, read_text
from schemas.contract.messages import Metric

CARDS = Path("/sys/class/drm")
NVIDIA = Path("/proc/driver/nvidia/version")
_QUERY = "index,name,utilization.gpu,memory.used,temperature.gpu,power.draw"
_NVIDIA_SECONDS = 10.0

_Readings = dict[str, float | int]


class Graphics(DetailCollector):
    """Load, memory, temperature and power of each graphics processor. One that sleeps is not woken."""

    metrics = (
        Metric(name="gpu_percent", unit="percent", title="GPU", device="gpu"),
        Metric(name="gpu_memory_bytes", unit="bytes", title="GPU memory", device="gpu"),
        Metric(name="gpu_celsius", unit="celsius", title="GPU temperature", device="gpu"),
        Metric(name="gpu_watts", unit="watts", title="GPU power", device="gpu"),
    )
    timeout_seconds = 15.0
    needs = "NVIDIA's driver with nvidia-smi, or amdgpu"
    cost = "below 1 ms for AMD; 50 ms for NVIDIA, in the process nvidia-smi"

    def present(self) -> bool:
        """Return True if there is a driver of one of the two."""
        return (NVIDIA.exists() and find_program("nvidia-smi") is not None) or next(_amd_cards(), None) is not None

    def collect(self) -> Details:
        """Return the readings of each card. Raises OSError if nvidia-smi fails."""
        details = Details()
        for name, readings in (*_of_amd(), *(_of_nvidia() if NVIDIA.exists() else ())):
            details.add(name, **readings)
        return details


def _of_nvidia() -> Iterator[tuple[str, _Readings]]:
    argv = [find_program("nvidia-smi") or "nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    for line in run_program(argv, seconds=_NVIDIA_SECONDS).text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 6 and fields[0].isdecimal():
            load, mib, celsius, watts = map(_number, fields[2:])
            found = {
                "gpu_percent": load,
                "gpu_memory_bytes": None if mib is None else int(mib) << 20,
                "gpu_celsius": celsius,
                "gpu_watts": watts,
            }
            yield f"{fields[0]} {fields[1]}", {name: value for name, value in found.items() if value is not None}


def _of_amd() -> Iterator[tuple[str, _Readings]]:
    for card in sorted(_amd_cards()):
        device, sensors = card / "device", next(card.glob("device/hwmon/hwmon*"), card)
        if read_text(device / "power" / "runtime_status") == "suspended":
            continue
        millidegrees, microwatts = read_number(sensors / "temp1_input"), read_number(sensors / "power1_average")
        found = {
            "gpu_percent": read_number(device / "gpu_busy_percent"),
            "gpu_memory_bytes": read_number(device / "mem_info_vram_used"),
            "gpu_celsius": None if millidegrees is None else millidegrees / 1000,
            "gpu_watts": None if microwatts is None else microwatts / 1e6,
        }
        yield card.name, {name: value for name, value in found.items() if value is not None}


def _amd_cards() -> Iterator[Path]:
    return (card for card in CARDS.glob("card[0-9]*") if (card / "device" / "gpu_busy_percent").exists())


def _number(text: str) -> float | None:
    """Return the number; None for `[N/A]`, which nvidia-smi prints where the card has no such sensor."""
    try:
        return float(text)
    except ValueError:
        return None
