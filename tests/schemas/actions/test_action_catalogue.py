import json
from typing import Any

from schemas.actions.action_catalogue import list_offers, make_target, read_actions

PING: dict[str, Any] = {"name": "ping", "title": "Ping", "arguments_schema": {}}
RUN: dict[str, Any] = {"name": "run", "title": "Run", "arguments_schema": {"properties": {"name": {"enum": ["a"]}}}}


def machine(name: str, *described: Any) -> Any:  # noqa: ANN401 - whatever a machine sent
    return make_target(name, hostname=None, presence="online", actions=json.dumps(described), keys='["k1", 3]')


def test_what_several_machines_allow_names_those_that_do_not() -> None:
    found = list_offers([machine("a", PING, RUN), machine("b", PING)])
    assert [(offer.name, offer.missing) for offer in found] == [("ping", ()), ("run", ("b",))]
    assert found[0].schemas == ({},)


def test_different_schemas_of_one_action_are_all_kept() -> None:
    other = {**RUN, "arguments_schema": {"properties": {"name": {"enum": ["b"]}}}}
    (run,) = list_offers([machine("a", RUN), machine("b", other), machine("c", RUN)])
    assert len(run.schemas) == 2


def test_what_cannot_be_read_hides_only_itself() -> None:
    broken = [{"name": "Not A Name", "title": "x", "arguments_schema": {}}, None, 3, {"name": "ping"}]
    assert set(read_actions([*broken, PING])) == {"ping"}
    for sent in (None, "{", '"text"', "[[[", "3", "null"):
        assert make_target("a", hostname="h", presence="x", actions=sent, keys=sent).actions == {}


def test_a_machine_says_which_keys_it_obeys() -> None:
    assert machine("a").keys == ("k1",)
    assert machine("a").hostname == "a"
