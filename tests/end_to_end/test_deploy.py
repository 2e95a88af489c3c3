"""The files in `deploy/`: they name commands, options and settings that exist.

Their linters, and the Debian package on a clean machine, are in tests/faults/test_installation.py.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import cli_reference
import pytest
import yaml  # type: ignore[import-untyped]
from servers import require_program

from runtime.settings.dashboard import DashboardSettings
from runtime.version import VERSION

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
COMMANDS = dict(cli_reference.commands())


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def options(command: str) -> set[str]:
    return {option for parameter in COMMANDS[command].params for option in parameter.opts}


def test_the_scripts_of_the_package_have_no_findings() -> None:
    program = require_program("shellcheck", "shellcheck")
    scripts = [str(DEPLOY / "debian" / name) for name in ("postinst", "prerm", "postrm")]
    done = subprocess.run([program, *scripts], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_cloud_init_runs_the_script_with_options_that_exist_and_no_secret_in_its_arguments() -> None:
    path = DEPLOY / "cloud-init" / "user-data.yml"
    assert path.read_text().startswith("#cloud-config\n")
    (told,) = documents(path)
    given = next(words for words in told["runcmd"] if "--from" in words)
    assert {word for word in given if word.startswith("--")} <= options("dashfleet agent install")
    assert not [word for word in given if "token-NAME" in word]
    assert told["write_files"][0]["permissions"] == "0600"


def test_the_role_runs_the_script_with_options_that_exist_and_hides_the_token() -> None:
    role = DEPLOY / "ansible" / "roles" / "dashfleet_agent"
    text = (role / "tasks" / "main.yml").read_text()
    assert set(re.findall(r'"(--[a-z0-9-]+)"', text)) <= options("dashfleet agent install")
    (tasks,) = documents(role / "tasks" / "main.yml")
    secret = next(task for task in tasks[0]["block"] if "dashfleet_agent_token }}" in str(task))
    assert secret["no_log"] is True
    (defaults,) = documents(role / "defaults" / "main.yml")
    assert set(re.findall(r"dashfleet_agent_(?!directory|result)\w+", text)) <= set(defaults)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_containers_run_commands_that_exist_without_privileges(path: Path) -> None:
    pods = [each["spec"]["template"]["spec"] for each in documents(path) if "template" in each.get("spec", {})]
    for container in (each for pod in pods for each in (*pod["initContainers"], *pod["containers"])):
        assert container["image"].endswith(f":{VERSION}")
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert container["resources"]["limits"]["memory"]
        words = container.get("args", [])
        name = next(
            (f"dashfleet {' '.join(words[:n])}" for n in (2, 1) if f"dashfleet {' '.join(words[:n])}" in COMMANDS), ""
        )
        assert name or not words, words
        assert not words or {word for word in words if word.startswith("--")} <= options(name) | {"--no-agent"}
        variables = {
            each["name"].removeprefix("DASHFLEET_DASHBOARD_").lower()
            for each in container.get("env", [])
            if "DASHBOARD" in each["name"]
        }
        assert variables <= set(DashboardSettings.model_fields)
