"""Writing a small file: a reader, also one after a crash, finds the old text or the new one, never a part."""

import os
from contextlib import suppress
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Put a text in the place of a file, whole or not at all. Only its owner can read it, from the moment it exists."""
    from tempfile import mkstemp  # here, as the agent has no use for it and for what it brings

    descriptor, name = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
