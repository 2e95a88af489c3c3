"""`docker-compose.yml` and `Dockerfile` without a container engine: parsed, and compared with commands and settings.

`test_separate_parts.py` runs the same parts.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from compose_spec import PyOptions

import dashfleet
from runtime.settings.agent import AgentSettings
from runtime.settings.broker import MosquittoSettings
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.ingestor import IngestorSettings
from runtime.settings.notifier import NotifierSettings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SETTINGS = {
    kind.part: kind
    for kind in (AgentSettings, DashboardSettings, IngestorSettings, MosquittoSettings, NotifierSettings)
}
MADE_BY_HAND = {"database", "pgpass"}


def composed() -> dict[str, Any]:
    """Return the Compose file with the defaults of variables and with merged anchors."""
    interpolated = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", TEXT)
    compose = PyOptions(apply_merge=True).from_yaml(interpolated)
    compose.validate()
    return dict(compose.to_dict())


COMPOSE = composed()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PARTS = sorted(set(SERVICES) - {"database"})


def environment(service: str) -> dict[str, str]:
    return dict(SERVICES[service].get("environment") or {})


def secrets(service: str) -> set[str]:
    return set(SERVICES[service].get("secrets") or [])


def test_the_parts_are_there() -> None:
    assert set(SERVICES) == {"database", "broker", "ingestor", "notifier", "dashboard", "agent", "setup"}


@pytest.mark.parametrize("service", PARTS)
def test_a_part_is_built_from_a_target_of_the_dockerfile_and_may_do_little(service: str) -> None:
    found = SERVICES[service]
    assert f"AS {found['build']['target']}\n" in DOCKERFILE
    assert found["cap_drop"] == ["ALL"]
    assert found["read_only"] is True
    assert found["user"] == "1000:1000"


def test_the_database_may_do_little_as_well() -> None:
    found = SERVICES["database"]
    assert found["cap_drop"] == ["ALL"]
    assert found["read_only"] is True
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["user"] == "1000:1000"


def test_every_package_of_an_image_has_a_hash_and_the_agents_versions_are_the_tested_ones() -> None:
    agent = "runtime/bundle/agent-requirements.txt"
    assert f"COPY {agent} requirements/agent.txt" in DOCKERFILE
    assert "pip install --quiet --require-hashes --requirement requirements/agent.txt" in DOCKERFILE
    unhashed = re.findall(r"pip install (?!.*(?:--require-hashes|--no-deps)).*", DOCKERFILE)
    assert unhashed == []
    versions = {
        path: set(re.findall(r"^([a-z0-9._-]+==[^ ;\\]+)", (ROOT / path).read_text(), re.MULTILINE))
        for path in (agent, "requirements/run.txt")
    }
    assert versions[agent] <= versions["requirements/run.txt"]
    assert len(versions[agent]) > 10


def test_images_of_others_can_be_pinned_by_digest() -> None:
    assert re.findall(r"^FROM (python\S*)", DOCKERFILE, re.MULTILINE) == []
    assert "${DASHFLEET_POSTGRES_IMAGE:-postgres:17}" in TEXT


@pytest.mark.parametrize("service", PARTS)
def test_every_variable_is_a_setting(service: str) -> None:
    for name in environment(service):
        _, part, setting = name.split("_", 2)
        assert setting.lower() in SETTINGS[part.lower()].model_fields, name


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_secret_is_a_file_that_the_service_is_given_and_never_a_variable(service: str) -> None:
    used = set(re.findall(r"/run/secrets/(\w+)", " ".join(environment(service).values())))
    assert used == secrets(service)
    assert not [name for name in environment(service) if name.endswith("PASSWORD")]


@pytest.mark.parametrize("service", sorted(set(PARTS) - {"setup"}))
def test_every_command_and_option_exists(service: str) -> None:
    words = SERVICES[service]["command"]
    command = typer.main.get_command(dashfleet.application()).commands[words[0]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("service", ["database", "broker", "ingestor", "dashboard"])
def test_what_others_wait_for_has_a_health_check(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"
    awaited = {name for found in SERVICES.values() for name in found.get("depends_on") or {}}
    assert awaited == {"database", "broker", "ingestor"}
    for found in SERVICES.values():
        assert all(wait["condition"] == "service_healthy" for wait in (found.get("depends_on") or {}).values())


def test_only_the_broker_is_open_to_the_network_and_the_database_is_apart() -> None:
    open_ports = {name: str(found["ports"]) for name, found in SERVICES.items() if found.get("ports")}
    assert set(open_ports) == {"broker", "dashboard"}
    assert "127.0.0.1" in open_ports["dashboard"]
    assert COMPOSE["networks"]["data"]["internal"] is True
    assert list(SERVICES["agent"]["networks"]) == ["mqtt"]


def test_the_files_of_the_secrets_are_what_setup_and_tls_make(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for words in (["setup", "--machine", "server"], ["tls", "broker"]):
        subprocess.run(
            [sys.executable, "-m", "dashfleet", *words, "--data", str(state)],
            env=os.environ,
            check=True,
            capture_output=True,
            timeout=60,
        )
    for name, secret in COMPOSE["secrets"].items():
        assert (tmp_path / secret["file"]).exists() == (name not in MADE_BY_HAND), name
    assert (state / "secrets" / "signing").is_dir()
    assert (state / "agent").is_dir()


def test_the_dashboard_builds_the_bundle_where_it_can_write() -> None:
    mounted = [
        volume["target"] if isinstance(volume, dict) else volume.split(":")[1]
        for volume in SERVICES["dashboard"]["volumes"]
    ]
    assert Path(environment("dashboard")["DASHFLEET_DASHBOARD_BUNDLE"]).parent.as_posix() in mounted
