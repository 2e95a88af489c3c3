"""The dashboards in `deploy/grafana/`: every metric that they query is exported, and no panel covers another."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.api import machine_metrics
from ingestor.metrics import Metrics

FILES = sorted((Path(__file__).parents[2] / "deploy" / "grafana").glob("*.json"))
OF_MACHINES = {family.name for family in machine_metrics.FAMILIES} | {
    machine_metrics.OPEN_ALERTS,
    "dashfleet_server_receiving",
}


def of_the_ingestor() -> set[str]:
    """Return the names of all lines that an ingestor exports; labels have no values yet."""
    found = set()
    for family in Metrics({}).registry.collect():
        found |= {sample.name for sample in family.samples} or {family.name}
    return found


def texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield the queries of a dashboard."""
    if isinstance(value, dict):
        yield from (each for name, each in value.items() if name in ("expr", "definition"))
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def board(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def test_there_is_one_for_the_fleet_one_for_a_machine_and_one_for_operations() -> None:
    assert [path.stem for path in FILES] == ["fleet", "machine", "operations"]
    boards = [board(path) for path in FILES]
    assert len({each["uid"] for each in boards}) == len(boards)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_metric_is_exported(path: Path) -> None:
    names = set(re.findall(r"\bdashfleet_\w+", " ".join(texts(board(path)))))
    exported = of_the_ingestor() if path.stem == "operations" else OF_MACHINES
    assert len(names) >= 8
    assert names <= exported, names - exported


def test_every_vital_and_metric_of_the_ingestor_is_on_a_dashboard() -> None:
    names = set(re.findall(r"\bdashfleet_\w+", " ".join(text for path in FILES for text in texts(board(path)))))
    assert names >= OF_MACHINES
    plain = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in of_the_ingestor()}
    assert plain - {"dashfleet_ingestor"} <= {re.sub(r"_bucket$", "", name) for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_panels_have_titles_queries_and_places_of_their_own(path: Path) -> None:
    panels = board(path)["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _y in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["targets"]
        assert all(each["datasource"]["uid"] == "${datasource}" for each in panel["targets"])
