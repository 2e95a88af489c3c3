"""The tree of subscriptions, against MQTT's matching rule."""

from hypothesis import given
from hypothesis import strategies as st

from broker.embedded.subscriptions import SubscriptionTree

level = st.sampled_from(("a", "b", "c", ""))
topic = st.lists(level, min_size=1, max_size=4).map("/".join)
filter_ = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(level | st.just("+"), min_size=1, max_size=4),
    st.sampled_from(((), ("#",))),
)
subscription = st.tuples(filter_ | st.just("#"), st.sampled_from(("ann", "bob", "eve")), st.integers(0, 1))


@given(st.lists(subscription, max_size=12), topic)
def test_it_finds_exactly_those_whose_filters_match_with_their_highest_qos(
    subscriptions: list[tuple[str, str, int]], wanted: str
) -> None:
    tree = SubscriptionTree[str]()
    latest: dict[tuple[str, str], int] = {}
    for filter_, subscriber, qos in subscriptions:
        tree.add(filter_, subscriber, qos)
        latest[filter_, subscriber] = qos
    expected: dict[str, int] = {}
    for (filter_, subscriber), qos in latest.items():
        if matches(filter_, wanted):
            expected[subscriber] = max(qos, expected.get(subscriber, 0))
    assert tree.match(wanted) == expected


@given(st.lists(subscription, max_size=12), st.lists(subscription, max_size=12), topic)
def test_what_was_taken_back_leaves_no_trace(
    kept: list[tuple[str, str, int]], gone: list[tuple[str, str, int]], wanted: str
) -> None:
    taken_back = {(filter_, subscriber) for filter_, subscriber, _ in gone}
    kept = [each for each in kept if each[:2] not in taken_back]
    tree, other = SubscriptionTree[str](), SubscriptionTree[str]()
    for each in (*kept, *gone):
        tree.add(*each)
    for each in kept:
        other.add(*each)
    for filter_, subscriber in taken_back:
        tree.discard(filter_, subscriber)
    assert tree.match(wanted) == other.match(wanted)
    assert tree._root == other._root


def test_taking_back_what_was_never_given_changes_nothing() -> None:
    tree = SubscriptionTree[str]()
    tree.add("a/+", "ann", 1)
    for filter_ in ("a", "a/b", "a/+/c", "b"):
        tree.discard(filter_, "ann")
    tree.discard("a/+", "bob")
    assert tree.match("a/x") == {"ann": 1}


def test_the_answer_stays_the_same_while_subscriptions_change() -> None:
    tree = SubscriptionTree[str]()
    tree.add("a", "ann", 1)
    answer = tree.match("a")
    tree.add("a", "bob", 1)
    assert answer == {"ann": 1}


def matches(filter_: str, topic: str) -> bool:
    wanted, levels = filter_.split("/"), topic.split("/")
    for index, own in enumerate(wanted):
        if own == "#":
            return True
        if index >= len(levels) or own not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)
