"""Desired and reported configuration of a machine, and the input of the form."""

from types import SimpleNamespace
from typing import Any

import pytest

from dashboard.machine.configuration import MachineConfig, compared, entered, read_labels, read_probes, reported
from dashboard.settings.sections.labels import relabelled
from schemas.contract.commands import Desired, Order
from schemas.contract.signing import new_key, sign


def desired(**arguments: Any) -> dict[str, Any]:  # noqa: ANN401
    order = Order(
        id="1" * 32, org="home", machine="attic", action="configure", arguments=arguments, issued_at=1, expires_at=2
    )
    return Desired(version=1, order=sign(order, new_key())).model_dump(mode="json")


def row(**info: Any) -> Any:  # noqa: ANN401
    return SimpleNamespace(info=info, labels=info.pop("labels", {}), interval_seconds=None)


def draft(**values: Any) -> Any:  # noqa: ANN401
    return SimpleNamespace(value=values.get)


def test_what_is_stored_is_read() -> None:
    wish = MachineConfig.of(desired(interval_seconds=5, labels={"site": "paris"}, collectors_off=["load"]))
    assert wish == MachineConfig(5.0, {"site": "paris"}, ("load",))
    assert MachineConfig.of(desired()) == MachineConfig()


@pytest.mark.parametrize(
    "stored",
    [None, {}, "nonsense", {"version": 1}, desired(labels=["no", "labels"]), desired(labels={"<b>": 1})],
    ids=["nothing", "empty", "text", "no order", "labels in a list", "a label's name"],
)
def test_what_cannot_be_read_is_no_wish(stored: object) -> None:
    assert MachineConfig.of(stored) == MachineConfig()


def test_each_difference_is_named_and_what_nobody_wished_for_is_the_owners() -> None:
    wish = MachineConfig(5.0, {"site": "paris"})
    lines = compared(wish, reported(row(interval_seconds=10.0, labels={"site": "paris"}, collectors_off=["load"])))
    assert [line[1:] for line in lines] == [
        ("5 s", "10 s", lines[0][3]),
        ("site: paris", "site: paris", lines[1][3]),
        ("Local setting (not managed)", "load", lines[2][3]),
    ]
    assert [line[3].tone for line in lines] == ["fair", "good", "plain"]


def test_what_is_not_touched_stays_the_owners() -> None:
    found = MachineConfig(10.0, {"site": "paris"})
    assert entered(draft(interval="10s", labels="site=paris", off=[]), MachineConfig(), found) == MachineConfig()
    assert entered(draft(interval="10s", labels="site=lyon", off=["load"]), MachineConfig(), found) == MachineConfig(
        None, {"site": "lyon"}, ("load",)
    )
    assert entered(draft(interval="10s", labels="", off=[]), MachineConfig(10.0), found) == MachineConfig(10.0, {})
    assert entered(draft(interval="", labels="site=paris", off=[]), MachineConfig(10.0), found) == MachineConfig()


def test_arguments_name_only_what_is_wished_for() -> None:
    assert MachineConfig().arguments() == {}
    assert MachineConfig(5.0, {"a": "b"}, ("load",)).arguments() == {
        "interval_seconds": 5.0,
        "labels": {"a": "b"},
        "collectors_off": ["load"],
    }


def test_probes_are_lines_and_stay_as_desired_when_other_settings_change() -> None:
    wish = MachineConfig.of(desired(probes={"shop": "https://shop.example.org/ failures=3"}))
    assert wish.arguments() == {"probes": {"shop": "https://shop.example.org/ failures=3"}}
    assert ("Probes", "shop") in [line[:2] for line in compared(wish, MachineConfig())]
    assert read_probes(" shop  https://a/ status=200 \n\n") == {"shop": "https://a/ status=200"}
    changed = entered(draft(interval="5s", labels="", off=[], probes="shop https://a/"), wish, MachineConfig())
    assert (changed.interval_seconds, changed.probes) == (5.0, {"shop": "https://a/"})
    for wrong in ("shop", "a https://a/\na https://b/"):
        with pytest.raises(ValueError, match="one probe per line"):
            read_probes(wrong)


def test_labels_are_lines() -> None:
    assert read_labels(" site = paris \n\nfloor=a=b\nempty=\n") == {"site": "paris", "floor": "a=b", "empty": ""}
    assert read_labels("") == {}
    for wrong in (
        "site",
        "=x",
        "<b>=x",
        "Site=x",
        "a=1\na=2",
        "a=" + "x" * 64,
        "\n".join(f"l{i}=x" for i in range(33)),
    ):
        with pytest.raises(ValueError, match="one label per line"):
            read_labels(wrong)


def labelled(desired: object, labels: dict[str, str]) -> Any:  # noqa: ANN401
    return SimpleNamespace(desired=desired, labels=labels)


def test_another_value_of_a_label_leaves_everything_else_as_it_is() -> None:
    stored = desired(interval_seconds=5, labels={"site": "paris", "floor": "2"}, collectors_off=["load"])
    assert relabelled(labelled(stored, {"site": "old"}), "site", "lyon") == {
        "interval_seconds": 5.0,
        "labels": {"site": "lyon", "floor": "2"},
        "collectors_off": ["load"],
    }
    assert relabelled(labelled(None, {"site": "paris", "floor": "2"}), "site", None) == {"labels": {"floor": "2"}}
    assert relabelled(labelled(None, {"site": "paris"}), "site", "") == {"labels": {"site": ""}}
