"""A missing extra is named in one sentence."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from runtime.extras import MODULES, missing_extra

ROOT = Path(__file__).parents[2]
DISTRIBUTION_OF = {"pynacl": "nacl", "prometheus-client": "prometheus_client", "argon2-cffi": "argon2"}
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
import dashfleet
sys.argv = ["dashfleet", *{arguments!r}]
dashfleet.main()
"""


def test_every_package_of_every_extra_is_known() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in MODULES:
        for requirement in extras[extra]:
            name = re.split(r"[\[<>=~ ]", requirement)[0]
            if name != "dashfleet":
                assert missing_extra(DISTRIBUTION_OF.get(name, name)) is not None, name


def test_a_module_of_none_is_not_mistaken() -> None:
    assert missing_extra("json") is None
    assert missing_extra(None) is None
    assert missing_extra("sqlalchemy.orm") == "server"


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("setup",), "server"),
        (("tls",), "server"),
        (("machines",), "server"),
        (("up",), "server"),
        (("dashboard",), "dashboard"),
        (("user", "list"), "server"),
        (("agent",), "agent"),
        (("agent", "enrol", "--server", "mqtt://127.0.0.1:1"), "agent"),
    ],
)
def test_a_command_without_its_extra_names_it(arguments: tuple[str, ...], extra: str, tmp_path: Path) -> None:
    hidden = [module for modules in MODULES.values() for module in modules]
    done = subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=hidden, arguments=[*arguments, "--data", str(tmp_path)])],
        input=f"home.{'0' * 8}.{'0' * 43}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"install dashfleet[{extra}]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
