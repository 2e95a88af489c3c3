import importlib
import sys
from pathlib import Path

import pytest

import dashboard.pages
from dashboard.auth.users import UserRole
from dashboard.page.page import discover


def test_every_page_is_found_and_the_fleet_is_first() -> None:
    paths = [view.path for view, _ in discover(dashboard.pages)]
    assert paths[0] == "fleet"
    assert "machine" in paths
    assert len(set(paths)) == len(paths)


def test_a_file_dropped_into_pages_is_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.py").write_text(
        "from dashboard.auth.users import UserRole\n"
        "from dashboard.page.page import Page\n"
        'PAGE = Page(title="Notes", path="notes", icon=":material/note:", roles=frozenset({UserRole.ADMIN}))\n'
        "def show(context):\n    raise AssertionError\n"
    )
    monkeypatch.setattr(dashboard.pages, "__path__", [*dashboard.pages.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    discover.cache_clear()
    try:
        found = {view.path: view for view, _ in discover(dashboard.pages)}
    finally:
        discover.cache_clear()
        sys.modules.pop("dashboard.pages.notes", None)
    assert found["notes"].roles == {UserRole.ADMIN}
