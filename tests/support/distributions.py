"""An installed distribution that provides plug-ins through entry points."""

from pathlib import Path


def install(directory: Path, name: str, group: str, entries: dict[str, str], **modules: str) -> None:
    """Put a distribution into a directory of sys.path: its metadata, its entry points, and its modules' source."""
    metadata = directory / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{entry} = {value}" for entry, value in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, text in modules.items():
        (directory / f"{module}.py").write_text(text)
