"""Environments of an installation with versions of the agent that run this source, and new ones that fail."""

import sys
import sysconfig
import venv
from pathlib import Path

from agent.installation import environment

ROOT = Path(__file__).parents[2]
TRIED = "import os; tried = 'DASHFLEET_UPDATE_TRIAL' in os.environ"
FAULTS = {
    "": "",
    "crashes": "tried and os._exit(3)",
    "hangs": "import time; tried and time.sleep(1e6)",
    "cannot connect": "tried and os.environ.update(DASHFLEET_AGENT_SERVER='mqtt://127.0.0.1:9')",
    "says why": "import sys; tried and (sys.stderr.write('libfoo.so is missing\\n'), os._exit(4))",
    "is another version": "import runtime.version; runtime.version.VERSION = '9.9.9'",
}
"""What a new version does, as statements that run when its Python starts."""


def make_environment(prefix: Path, version: str, content: str = "0" * 12, *, fault: str = "") -> Path:
    """Return a complete environment of this source that calls itself another version."""
    place = prefix / environment.ENVIRONMENTS / f"{version}-{content}"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(place)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
    (packages / "a_source.pth").write_text("\n".join([str(ROOT), *_site_packages()]) + "\n")
    code = f"import runtime.version; runtime.version.VERSION = '{version}'; {TRIED}; {FAULTS[fault]}"
    (packages / "version_of_the_test.py").write_text(f"{code}\n")
    (packages / "b_version.pth").write_text("import version_of_the_test\n")
    program = environment.program(place)
    program.write_text(f"#!{environment.program(place, 'python')}\nimport dashfleet\n\ndashfleet.main()\n")
    program.chmod(0o755)
    (place / ".complete").write_text(f"{place.name}\n")
    return place


def _site_packages() -> list[str]:
    return [path for path in sys.path if path.endswith("site-packages")]
