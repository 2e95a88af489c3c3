"""The topic tree: topics that it formats are parsed, all others are rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contract import topics
from schemas.contract.topics import ALL, MACHINE_MAX_LENGTH, ORG_MAX_LENGTH, ROOT, Address, Topic, is_id, parse, slug

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def ids(max_length: int) -> st.SearchStrategy[str]:
    return st.text(LETTERS + "-", min_size=1, max_size=max_length).filter(
        lambda text: not text.startswith("-") and not text.endswith("-")
    )


LEVELS = {
    "incident": st.integers(1, 2**53).map(str),
    "org": ids(ORG_MAX_LENGTH),
    "machine": ids(MACHINE_MAX_LENGTH),
    "principal": ids(MACHINE_MAX_LENGTH) | ids(MACHINE_MAX_LENGTH).map(lambda text: f"_{text}"),
    "rule": ids(63),
    "way": ids(63),
    "kind": ids(63),
    "replay": ids(63),
}


def levels_of(topic: Topic) -> list[str]:
    return [name for name in LEVELS if f"{{{name}}}" in topic.pattern]


@given(topic=st.sampled_from(ALL), data=st.data())
def test_a_topic_is_read_back_as_it_was_written(topic: Topic, data: st.DataObject) -> None:
    levels = {name: data.draw(LEVELS[name]) for name in levels_of(topic)}

    assert parse(topic.at(**levels)) == Address(topic, **levels)


@pytest.mark.parametrize("topic", ALL, ids=lambda topic: topic.pattern)
def test_a_filter_has_a_plus_for_every_level_that_is_not_given(topic: Topic) -> None:
    everything = topic.filter()

    assert "{" not in everything
    assert everything.count("+") == len(levels_of(topic))
    before = f"{topic.root}/+" if "{replay}" in topic.pattern else topic.root
    assert topic.filter(org="home").startswith(f"{before}/home/") is ("{org}" in topic.pattern)
    given_all = dict.fromkeys(levels_of(topic), "x")
    assert topic.filter(**given_all) == topic.at(**given_all)


@pytest.mark.parametrize("topic", ALL, ids=lambda topic: topic.pattern)
def test_a_topic_without_one_of_its_levels_cannot_be_written(topic: Topic) -> None:
    with pytest.raises(KeyError):
        topic.at()


def test_every_topic_of_a_machine_has_six_levels_and_facts_have_one_more() -> None:
    of_machines = [topic for topic in ALL if topic.pattern.startswith("{org}/{machine}/")]

    assert len(of_machines) == 15
    assert {topic.filter().count("/") for topic in of_machines if topic is not topics.FACTS} == {5}
    assert topics.FACTS.filter().count("/") == 6


def test_what_the_broker_keeps_and_how_sure_it_travels_is_as_published() -> None:
    assert {topic.pattern for topic in ALL if topic.retain} == {
        "{org}/{machine}/up/status",
        "{org}/{machine}/up/info",
        "{org}/{machine}/up/facts/{kind}",
        "{org}/{machine}/down/config",
        "{org}/{machine}/down/watch",
        "{org}/_presence/{machine}",
        "{org}/_alerts/{machine}/{rule}",
        "{org}/_resolved/{machine}/{rule}",
        "{org}/_incidents/{incident}",
        "{org}/_config",
    }
    files = [topics.CHUNK, topics.RECEIPT]
    at_most_once = [topics.LIVE, topics.ACK, topics.WATCH, *files, topics.LIVE_REQUEST, topics.LIVE_ANSWER]
    assert [topic for topic in ALL if topic.qos == 0] == at_most_once


@pytest.mark.parametrize(
    "text",
    ["a", "0", "a-b", "a--b", "x" * 63],
)
def test_ids_are_lower_case_letters_digits_and_inner_hyphens(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize(
    "text", ["", "-", "-a", "a-", "A", "a_b", "_a", "a.b", "a b", "a/b", "+", "#", "ä", "a\n", "٣", "x" * 64]
)
def test_anything_else_is_no_id(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "/",
        ROOT,
        f"{ROOT}/home/attic/up",
        f"{ROOT}/home/attic/up/",
        f"{ROOT}/home/attic/up/status/",
        f"/{ROOT}/home/attic/up/status",
        f"{ROOT}/home/attic/up/status/more",
        f"{ROOT}/home/attic/up/status\n",
        f"{ROOT}/home/attic/up/unknown",
        f"{ROOT}/home/attic/down/status",
        f"{ROOT}/home/Attic/up/status",
        f"{ROOT}/home/_attic/up/status",
        f"{ROOT}/_home/attic/up/status",
        f"{ROOT}/home/-attic/up/status",
        f"{ROOT}/home/attic-/up/status",
        f"{ROOT}/home//up/status",
        f"{ROOT}//attic/up/status",
        f"{ROOT}/+/attic/up/status",
        f"{ROOT}/home/#",
        f"{ROOT}/home/at tic/up/status",
        f"{ROOT}/home/at\x00tic/up/status",
        f"{ROOT}/home/{'x' * 64}/up/status",
        f"{ROOT}/{'x' * 33}/attic/up/status",
        f"{ROOT}/home/_alerts/_attic/cpu",
        f"{ROOT}/home/_alerts/attic/_cpu",
        f"{ROOT}/home/_alerts/attic/{'x' * 64}",
        f"{ROOT}/home/_actions/__anna/request",
        f"{ROOT}/home/_actions/_/request",
        f"{ROOT}/home/_actions/anna/command",
        f"{ROOT}/home/_other",
        f"{ROOT}/_config",
        "dashfleet/v2/home/attic/up/status",
        "dashfleet.v1/home/attic/up/status",
        "DASHFLEET/v1/home/attic/up/status",
        "$SYS/broker/version",
    ],
)
def test_a_topic_that_the_contract_does_not_have_is_nothing(topic: str) -> None:
    assert parse(topic) is None


@given(text=st.text(max_size=40))
def test_no_text_is_mistaken_for_a_topic(text: str) -> None:
    assert parse(text) is None
    assert parse(f"{ROOT}/home/{text}/up/status") is None or is_id(text)


@given(text=st.text())
def test_a_slug_is_always_an_id(text: str) -> None:
    assert is_id(slug(text))
    assert is_id(slug(text, ORG_MAX_LENGTH), ORG_MAX_LENGTH)


@given(text=ids(MACHINE_MAX_LENGTH))
def test_an_id_is_its_own_slug_unless_it_is_full_of_hyphens(text: str) -> None:
    assert "--" in text or slug(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Attic", "attic"),
        ("attic.example.org", "attic-example-org"),
        ("My  PC!", "my-pc"),
        ("---", "machine"),
        ("", "machine"),
        ("日本", "machine"),
        ("a" * 62 + ".b", "a" * 62),
    ],
)
def test_a_slug_is_near_to_what_it_was_made_of(text: str, expected: str) -> None:
    assert slug(text) == expected
