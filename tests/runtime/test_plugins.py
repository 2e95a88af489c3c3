import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from distributions import install

from runtime.plugins import discover

GROUP = "test.plugins"
PLUGIN = "class {name}:\n    plugin = '{value}'\n"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on sys.path with an empty package `shipped`; its modules are forgotten afterwards."""
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def found() -> dict[str, str]:
    package: ModuleType = importlib.import_module("shipped")
    plugins: dict[str, Any] = discover(
        package,
        GROUP,
        accepts=lambda value: isinstance(value, type) and hasattr(value, "plugin"),
        name=lambda kind: kind.__name__,
        source=lambda kind: kind,
    )
    return {name: kind.plugin for name, kind in plugins.items()}


def test_the_modules_of_the_package_come_first_and_the_entry_points_after_them(directory: Path) -> None:
    (directory / "shipped" / "z.py").write_text(PLUGIN.format(name="Zinc", value="z"))
    install(directory, "b", GROUP, {"b": "b_plugin:Boron"}, b_plugin=PLUGIN.format(name="Boron", value="b"))
    install(directory, "a", GROUP, {"a": "a_plugin:Argon"}, a_plugin=PLUGIN.format(name="Argon", value="a"))
    install(directory, "c", "another.group", {"c": "c_plugin:Cobalt"}, c_plugin="raise RuntimeError")

    assert list(found().items()) == [("Zinc", "z"), ("Argon", "a"), ("Boron", "b")]


def test_without_entry_points_there_is_only_the_package(directory: Path) -> None:
    (directory / "shipped" / "z.py").write_text(PLUGIN.format(name="Zinc", value="z"))

    assert found() == {"Zinc": "z"}


def test_what_a_module_imports_is_not_found_twice(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    (directory / "shipped" / "z.py").write_text(PLUGIN.format(name="Zinc", value="z"))
    (directory / "shipped" / "a.py").write_text("from shipped.z import Zinc\n")
    install(directory, "again", GROUP, {"again": "shipped.z:Zinc"})

    assert found() == {"Zinc": "z"}
    assert not caplog.records


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("bad:Bad", "this is not Python"),
        ("bad:Bad", "raise RuntimeError"),
        ("bad:Bad", "import a_module_that_nobody_has"),
        ("bad:Missing", ""),
        ("missing:Bad", ""),
        ("bad", ""),
        ("bad:Bad", "class Bad:\n    pass\n"),
    ],
)
def test_a_broken_entry_point_costs_only_itself(
    directory: Path, caplog: pytest.LogCaptureFixture, value: str, source: str
) -> None:
    install(directory, "bad", GROUP, {"bad": value}, bad=source)
    install(directory, "good", GROUP, {"good": "good:Good"}, good=PLUGIN.format(name="Good", value="g"))

    assert found() == {"Good": "g"}
    assert f"entry point bad = {value} of bad" in caplog.text


def test_a_broken_module_of_the_package_costs_only_itself(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    (directory / "shipped" / "bad.py").write_text("raise RuntimeError")
    (directory / "shipped" / "z.py").write_text(PLUGIN.format(name="Zinc", value="z"))

    assert found() == {"Zinc": "z"}
    assert "cannot load shipped.bad" in caplog.text


def test_a_list_of_entry_points_that_cannot_be_read_costs_no_plugin_of_the_package(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (directory / "shipped" / "z.py").write_text(PLUGIN.format(name="Zinc", value="z"))
    install(directory, "bad", GROUP, {})
    (directory / "bad-1.0.dist-info" / "entry_points.txt").write_text(f"[{GROUP}]\nno equals sign\n")

    assert found() == {"Zinc": "z"}
    assert "cannot load the list of entry points" in caplog.text


def test_a_name_that_is_taken_is_ignored_with_a_warning_that_names_both(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (directory / "shipped" / "z.py").write_text(PLUGIN.format(name="Zinc", value="shipped"))
    install(directory, "other", GROUP, {"zinc": "other:Zinc"}, other=PLUGIN.format(name="Zinc", value="installed"))
    install(
        directory, "two", GROUP, {"a": "one:Boron", "b": "two:Boron"}, one=PLUGIN.format(name="Boron", value="first"),
        two=PLUGIN.format(name="Boron", value="second"),
    )  # fmt: skip

    with caplog.at_level(logging.WARNING):
        assert found() == {"Zinc": "shipped", "Boron": "first"}
    assert "entry point zinc = other:Zinc of other" in caplog.text
    assert "shipped.z has a plug-in of the same name, Zinc" in caplog.text
    assert "entry point b = two:Boron of two" in caplog.text
