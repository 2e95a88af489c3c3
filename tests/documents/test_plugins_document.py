"""The example package in `docs/plugins.md` works, and the recipes in CONTRIBUTING are the same plug-ins."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent.actions
import agent.collectors
import ingestor.alerts.rules
from agent import action, collector
from ingestor.alerts import rule
from runtime.settings.agent import AgentSettings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "plugins.md").read_text()
PROJECT = tomllib.loads(re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)[0])["project"]
GROUPS: dict[str, dict[str, str]] = PROJECT["entry-points"]
FILES = dict(re.findall(r"`(fleet_extras/\w+\.py)`:\n\n```python\n(.*?)```", TEXT, flags=re.DOTALL))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the example package on the path as an installer leaves it."""
    (tmp_path / "fleet_extras").mkdir()
    (tmp_path / "fleet_extras" / "__init__.py").touch()
    for name, source in FILES.items():
        (tmp_path / name).write_text(source)
    metadata = tmp_path / "fleet_extras-1.0.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fleet-extras\nVersion: 1.0.0\n")
    lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in named.items()) for group, named in GROUPS.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "fleet_extras"]:
        del sys.modules[name]


def test_the_example_names_every_group_that_is_looked_up() -> None:
    assert set(GROUPS) == {collector.ENTRY_POINTS, action.ENTRY_POINTS, rule.GROUP}


def test_the_recipes_are_the_same_plugins() -> None:
    recipes = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.DOTALL)
    assert sorted(recipes) == sorted(FILES.values())


@pytest.mark.usefixtures("installed")
def test_the_example_is_found_beside_the_plugins_of_the_tree(tmp_path: Path) -> None:
    settings = AgentSettings(data=tmp_path, machine="attic", password_file=tmp_path / "secret")
    collectors = {type(found).__name__: found for found in collector.discover(agent.collectors, settings)}
    actions = action.discover(agent.actions)
    rules = {found.name: found for found in rule.discover(ingestor.alerts.rules)}

    assert set(collectors["Users"].collect()) == {"users_count"}
    assert {"Cpu", "Users"} <= set(collectors)
    details = {type(found).__name__: found for found in collector.discover_details(agent.collectors, settings)}
    assert {"Mounts", "Sessions"} <= set(details)
    assert details["Sessions"].present()
    assert set(details["Sessions"].collect().facts) == {"sessions"}
    assert actions["find_file"].title == "Find a file"
    assert "ping" in actions
    assert rules["too-hot"].title == "Too hot"
    assert set(rules) == {"too-hot"}, "the tree has none: its rules are rows in the database"
