"""The files in `assets/`: scripts, styles and templates that browsers receive."""

from functools import lru_cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

ASSETS: Final = Path(__file__).parent / "assets"


@lru_cache
def asset(name: str) -> str:
    """Return the text of the file `assets/NAME`."""
    return (ASSETS / name).read_text()


def template(name: str) -> Template:
    """Return the Jinja template `assets/NAME`, which escapes all values."""
    return _environment().get_template(name)


@lru_cache
def _environment() -> Environment:
    loader = FileSystemLoader(ASSETS)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
