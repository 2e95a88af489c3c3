import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.widgets import component
from dashboard.widgets.asset_files import ASSETS, asset


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=component.routes()))


@pytest.mark.parametrize("name", ["cards", "map", "map_names", "table"])
def test_a_script_is_at_an_address_of_its_content_and_may_be_kept(client: TestClient, name: str) -> None:
    answer = client.get(component.address(name))
    assert answer.text == asset(f"{name}.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["/scripts/table.js", "/scripts/table.0000000000000000.js", "/scripts/..%2fapp.py"])
def test_nothing_else_is_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_every_script_of_a_component_has_a_default_export() -> None:
    drawing = [path for path in ASSETS.glob("*.js") if "export default function" in path.read_text()]
    assert {path.stem for path in drawing} >= {"cards", "map", "map_names", "table"}
