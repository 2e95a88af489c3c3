"""The wheel that machines install: complete, minimal, the same each time."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runtime.bundle import agent_wheel
from runtime.extras import MODULES

SERVER_ONLY = {name for extra, names in MODULES.items() if extra != "agent" for name in names} - {"nacl"}
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, {wheel!r})
sys.modules.update({{name: None for name in {blocked!r}}})
import dashfleet, agent
for module in pkgutil.walk_packages(agent.__path__, "agent."):
    importlib.import_module(module.name)
assert agent.__file__.startswith({wheel!r}), agent.__file__
"""
BOOTSTRAP = "import agent.installation.bootstrap, sys; print(agent.__file__, 'pydantic' in sys.modules)"


@pytest.fixture(scope="module")
def content() -> bytes:
    return agent_wheel.build(agent_wheel.read_requirements())


def test_the_same_source_gives_the_same_bytes(content: bytes) -> None:
    assert agent_wheel.build(agent_wheel.read_requirements()) == content


def test_it_has_nothing_of_the_server(content: bytes) -> None:
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert "agent/__main__.py" in names
    assert not [
        name for name in names if name.startswith(("ingestor/", "dashboard/", "notifier/", "schemas/database/"))
    ]
    assert not [name for name in names if name.endswith(".pyc")]


def test_every_module_of_the_agent_and_the_command_line_imports_without_the_libraries_of_the_server(
    content: bytes, tmp_path: Path
) -> None:
    place = tmp_path / "unpacked"
    zipfile.ZipFile(io.BytesIO(content)).extractall(place)
    code = IMPORT_ALL.format(wheel=str(place), blocked=sorted(SERVER_ONLY))
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


def test_its_first_step_runs_from_the_wheel_with_the_standard_library_alone(content: bytes, tmp_path: Path) -> None:
    (wheel := tmp_path / agent_wheel.NAME).write_bytes(content)
    argv = [sys.executable, "-S", "-P", "-c", BOOTSTRAP]
    done = subprocess.run(
        argv, capture_output=True, text=True, env={"PYTHONPATH": str(wheel)}, cwd=tmp_path, check=False
    )
    assert done.stdout == f"{wheel}/agent/__init__.py False\n", done.stderr


def test_its_dependencies_are_pinned_as_tested(content: bytes) -> None:
    archive = zipfile.ZipFile(io.BytesIO(content))
    metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    pinned = [line for line in agent_wheel.REQUIREMENTS.read_text().splitlines() if "==" in line]
    assert metadata.count("Requires-Dist: ") == len(pinned)
    assert f"Requires-Dist: {pinned[0].removesuffix(' ' + chr(92))}\n" in metadata
