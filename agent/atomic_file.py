"""Small files of the agent's state: on disk when written, whole or not at all, and its owner's alone to read.

`runtime.files` does the same for the other parts, with a module that costs the agent memory.
"""

import os
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Put a text in the place of a file. Raises OSError, and then the old text is still there."""
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Let the names in a directory outlive a power cut, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
