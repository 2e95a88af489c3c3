"""The wheel of pip that a Python includes. Standard library only."""

import importlib.util
import sysconfig
from pathlib import Path


def find_included_pip() -> Path | None:
    """Return the wheel; None if this Python has none, as on Debian without python3-venv."""
    found = importlib.util.find_spec("ensurepip")
    places = [Path(place, "_bundled") for place in (found and found.submodule_search_locations) or ()]
    if shared := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        places.append(Path(str(shared)))
    wheels = [wheel for place in places for wheel in sorted(place.glob("pip-*.whl"))]
    return wheels[-1] if wheels else None
