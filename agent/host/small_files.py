"""Small text files of the kernel. A file that cannot be read is empty: nothing here raises.

Some kernels and LXC end such a file in NUL bytes, or return an empty one.
"""

from pathlib import Path


def read_text(path: Path) -> str:
    """Return the content without NUL bytes and surrounding white space."""
    try:
        return path.read_bytes().decode(errors="replace").replace("\0", "").strip()
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return ""


def read_number(path: Path) -> int | None:
    """Return the number in a file; None if there is none, such as for `max`."""
    return _number(read_text(path))


def read_table(path: Path, *, column: int = 1) -> dict[str, int]:
    """Return the numbers in this column by the name in the first, without its colon; other lines are left out."""
    table = {}
    for words in map(str.split, read_text(path).splitlines()):
        number = _number(words[column]) if len(words) > column else None
        if number is not None:
            table[words[0].rstrip(":")] = number
    return table


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
