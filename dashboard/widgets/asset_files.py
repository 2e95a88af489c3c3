"""The files in `assets/`: scripts, styles and templates that browsers receive."""

from functools import lru_cache
from pathlib import Path
from typing import Final

ASSETS: Final = Path(__file__).parent / "assets"


@lru_cache
def asset(name: str) -> str:
    """Text of the file `assets/NAME`."""
    return (ASSETS / name).read_text()
