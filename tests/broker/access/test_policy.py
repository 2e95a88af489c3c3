"""Who may do what."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.access.policy import NOTIFIER, Principal, Role, Verb, allowed, covers, grants, may_administer
from schemas.contract import topics

MACHINE = Principal(Role.MACHINE, "home", "attic")
READER = Principal(Role.READER, "home", "grafana")
OPERATOR = Principal(Role.OPERATOR, "home", "ann")
DASHBOARD = Principal(Role.DASHBOARD, "", "dashboard")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
TOKEN = Principal(Role.ENROL, "home", "token-1")
REPLAY = Principal(Role.REPLAY, "home", "past")
EVERYBODY = (MACHINE, READER, OPERATOR, DASHBOARD, INGESTOR, TOKEN, NOTIFIER, REPLAY)

ORGS = ("home", "work")
LEVELS = {
    "machine": ("attic", "cellar"),
    "principal": ("ann", "bob", "grafana", "token-1", "_dashboard"),
    "rule": ("disk-full",),
    "incident": ("7",),
    "way": ("shared",),
    "kind": ("services",),
    "replay": ("r1",),
}


def every_topic() -> list[str]:
    """Every topic of the contract, at every combination of a few organisations, machines and principals."""
    found = []
    for topic in topics.ALL:
        names = [name for name in LEVELS if "{" + name + "}" in topic.pattern]
        for org, *levels in product(ORGS, *(LEVELS[name] for name in names)):
            found.append(topic.at(org=org, **dict(zip(names, levels, strict=True))))
    return found


def granted(principal: Principal, verb: Verb) -> set[str]:
    return {topic for topic in every_topic() if allowed(principal, verb, topic)}


def at(*wanted: topics.Topic, org: str = "home", **levels: str) -> set[str]:
    usual = {"machine": "attic", "principal": "ann", "rule": "disk-full", "incident": "7", "way": "shared"}
    levels = {**usual, "kind": "services", "replay": "r1", **levels}
    return {topic.at(org=org, **levels) for topic in wanted}


REPLAYED = tuple(topic for topic in topics.ALL if topic.root == topics.REPLAY_ROOT)
UPWARD = (topics.STATUS, topics.INFO, topics.FACTS, topics.TELEMETRY, topics.BACKFILL, topics.RESULT)


def test_a_username_says_the_organisation_and_what_is_no_machine_starts_with_an_underscore() -> None:
    assert [principal.username for principal in EVERYBODY] == [
        "home.attic",
        "home._grafana",
        "home._ann",
        "_dashboard",
        "_ingestor",
        "home._token-1",
        "_notifier",
        "home._past",
    ]


def test_no_two_kinds_of_principal_can_share_a_username() -> None:
    assert Principal(Role.MACHINE, "home", "ann").username != Principal(Role.OPERATOR, "home", "ann").username
    assert Principal(Role.INGESTOR, "", "home").username != Principal(Role.OPERATOR, "home", "home").username


def test_a_machine_publishes_what_is_its_own_and_nothing_else() -> None:
    assert granted(MACHINE, Verb.PUBLISH) == at(*UPWARD, topics.LIVE, topics.FETCH, topics.UPLOAD)


def test_a_machine_reads_what_is_sent_to_it_its_own_status_and_the_configuration_of_its_organisation() -> None:
    files = (topics.CHUNK, topics.RECEIPT)
    expected = at(topics.COMMAND, topics.ACK, topics.CONFIG, *files, topics.WATCH, topics.STATUS, topics.ORG_CONFIG)
    assert granted(MACHINE, Verb.RECEIVE) == expected
    assert granted(MACHINE, Verb.SUBSCRIBE) == expected


def test_a_reader_reads_all_that_its_organisation_reports_and_publishes_nothing_but_its_requests_to_look() -> None:
    reports = {
        topic
        for machine in LEVELS["machine"]
        for topic in at(
            *UPWARD, topics.LIVE, topics.PRESENCE, topics.ALERT, topics.RESOLVED, *REPLAYED, machine=machine
        )
    }
    answers = at(topics.LIVE_ANSWER, principal="grafana")
    assert granted(READER, Verb.RECEIVE) == reports | answers | at(topics.INCIDENT, topics.ORG_CONFIG)
    assert granted(READER, Verb.PUBLISH) == at(topics.LIVE_REQUEST, principal="grafana")


def test_an_operator_also_requests_and_hears_of_its_own_requests_only() -> None:
    assert granted(OPERATOR, Verb.PUBLISH) == at(topics.REQUEST, topics.LIVE_REQUEST, principal="ann")
    reports = granted(READER, Verb.RECEIVE) - at(topics.LIVE_ANSWER, principal="grafana")
    assert granted(OPERATOR, Verb.RECEIVE) == reports | at(topics.UPDATE, topics.LIVE_ANSWER, principal="ann")


def test_the_dashboard_requests_in_every_organisation_under_its_own_name() -> None:
    own = {"principal": "_dashboard"}
    requests = {topic for org in ORGS for topic in at(topics.REQUEST, topics.LIVE_REQUEST, org=org, **own)}
    updates = {topic for org in ORGS for topic in at(topics.UPDATE, topics.LIVE_ANSWER, org=org, **own)}
    live = {
        topic for org in ORGS for machine in LEVELS["machine"] for topic in at(topics.LIVE, org=org, machine=machine)
    }
    assert granted(DASHBOARD, Verb.PUBLISH) == requests
    assert granted(DASHBOARD, Verb.RECEIVE) == updates | live


def test_the_notifier_reads_the_alerts_and_incidents_of_all_organisations_and_publishes_nothing() -> None:
    of_machines = (topics.ALERT, topics.RESOLVED)
    alerts = {topic for org in ORGS for name in LEVELS["machine"] for topic in at(*of_machines, org=org, machine=name)}
    others = {topic for org in ORGS for topic in at(topics.INCIDENT, topics.ORG_CONFIG, org=org)}
    assert granted(NOTIFIER, Verb.RECEIVE) == granted(NOTIFIER, Verb.SUBSCRIBE) == alerts | others
    assert allowed(NOTIFIER, Verb.SUBSCRIBE, topics.RESOLVED.filter())
    assert granted(NOTIFIER, Verb.PUBLISH) == set()


def test_a_replay_publishes_below_its_own_root_and_nothing_on_the_live_tree_and_reads_nothing() -> None:
    assert granted(REPLAY, Verb.PUBLISH) == at(*REPLAYED) | at(*REPLAYED, machine="cellar")
    assert granted(REPLAY, Verb.RECEIVE) == granted(REPLAY, Verb.SUBSCRIBE) == set()


def test_only_readers_and_operators_hear_a_replay_so_that_nothing_acts_on_the_past() -> None:
    for topic in at(*REPLAYED):
        assert [p for p in EVERYBODY if allowed(p, Verb.RECEIVE, topic)] == [READER, OPERATOR]
        assert [p for p in EVERYBODY if allowed(p, Verb.PUBLISH, topic)] == [REPLAY]


def test_nothing_can_be_ordered_in_a_replay() -> None:
    leaves = {topic.pattern.removeprefix("{replay}/") for topic in REPLAYED}
    ordering = (topics.COMMAND, topics.REQUEST, topics.CONFIG, topics.ACK, topics.WATCH, topics.CHUNK, topics.RESULT)
    assert not leaves & {topic.pattern for topic in ordering}


def test_a_token_asks_for_a_place_and_hears_the_answer_and_nothing_else() -> None:
    assert granted(TOKEN, Verb.PUBLISH) == at(topics.ENROL_REQUEST, principal="token-1")
    assert granted(TOKEN, Verb.RECEIVE) == at(topics.ENROL_ANSWER, principal="token-1")


def test_nobody_but_the_ingestor_answers_to_a_token() -> None:
    answer = topics.ENROL_ANSWER.at(org="home", principal="token-1")
    assert [p for p in EVERYBODY if allowed(p, Verb.PUBLISH, answer)] == [INGESTOR]


def test_only_a_token_is_called_otherwise_than_its_user_name_and_only_with_32_hex_digits_behind_it() -> None:
    assert all(p.may_be_called(p.username) for p in EVERYBODY if p is not TOKEN)
    assert not any(p.may_be_called(f"{p.username}.{'a' * 32}") for p in EVERYBODY if p is not TOKEN)
    assert TOKEN.may_be_called(f"home._token-1.{'0a' * 16}")
    wrong = (
        "",
        "home._token-1",
        f"home._token-2.{'0a' * 16}",
        f"home._token-1.{'0A' * 16}",
        f"home._token-1.{'0' * 31}",
    )
    assert [name for name in wrong if TOKEN.may_be_called(name)] == []


def test_an_operator_called_dashboard_is_not_the_dashboard() -> None:
    impostor = Principal(Role.OPERATOR, "home", "dashboard")
    assert not allowed(impostor, Verb.PUBLISH, topics.REQUEST.at(org="home", principal="_dashboard"))


def test_the_ingestor_reads_all_reports_and_requests_of_all_organisations() -> None:
    requests = (topics.REQUEST, topics.ENROL_REQUEST, topics.LIVE_REQUEST)
    upward = [topic.filter() for topic in (*UPWARD, topics.FETCH, topics.UPLOAD, *requests, topics.WATCH)]
    assert granted(INGESTOR, Verb.RECEIVE) == {
        topic for topic in every_topic() if any(covers(filter_, topic) for filter_ in upward)
    }
    assert all(allowed(INGESTOR, Verb.SUBSCRIBE, filter_) for filter_ in upward)


def test_the_ingestor_alone_commands_and_grants_leases() -> None:
    for topic in at(topics.COMMAND, topics.WATCH):
        assert [p for p in EVERYBODY if allowed(p, Verb.PUBLISH, topic)] == [INGESTOR]


def test_the_ingestor_alone_sends_files_and_nobody_but_the_machine_reads_them() -> None:
    for topic in at(topics.CHUNK, topics.RECEIPT):
        assert [p for p in EVERYBODY if allowed(p, Verb.PUBLISH, topic)] == [INGESTOR]
        assert [p for p in EVERYBODY if allowed(p, Verb.RECEIVE, topic)] == [MACHINE]
    for topic in at(topics.FETCH, topics.UPLOAD):
        assert [p for p in EVERYBODY if allowed(p, Verb.RECEIVE, topic)] == [INGESTOR]


def test_nobody_speaks_for_a_machine_but_itself_and_the_ingestor_that_clears_what_is_retained() -> None:
    for topic in at(topics.PRESENCE, topics.ALERT, topics.RESOLVED, topics.INCIDENT):
        assert [p for p in EVERYBODY if allowed(p, Verb.PUBLISH, topic)] == [INGESTOR]
    for topic in at(topics.STATUS, topics.INFO, topics.TELEMETRY, topics.BACKFILL, topics.RESULT, topics.LIVE):
        assert [p for p in EVERYBODY if allowed(p, Verb.PUBLISH, topic)] == [MACHINE, INGESTOR]


def test_the_ingestor_requests_nothing_not_even_to_clear_a_retained_request() -> None:
    for topic in (topics.REQUEST.at(org="home", principal="_dashboard"), *at(topics.REQUEST, principal="ann")):
        assert not allowed(INGESTOR, Verb.PUBLISH, topic)
    assert not allowed(INGESTOR, Verb.PUBLISH, topics.ENROL_REQUEST.at(org="home", principal="token-1"))


@pytest.mark.parametrize("principal", [MACHINE, READER, OPERATOR, TOKEN, REPLAY])
@pytest.mark.parametrize("verb", Verb)
def test_nobody_of_one_organisation_reaches_another(principal: Principal, verb: Verb) -> None:
    others = (f"{topics.ROOT}/work/", f"{topics.REPLAY_ROOT}/r1/work/")
    assert not {topic for topic in granted(principal, verb) if topic.startswith(others)}


@pytest.mark.parametrize("principal", EVERYBODY)
@pytest.mark.parametrize(
    "wanted",
    [
        "#",
        "+",
        "+/#",
        "dashfleet/#",
        "dashfleet/v1/#",
        "dashfleet/v1/home/#",
        "dashfleet/v1/home/attic/#",
        "dashfleet/v1/home/attic/+/+",
        "dashfleet/v1/+/+/+/+",
        "$SYS/#",
        "$SYS/broker/uptime",
        "$share/ingestors/dashfleet/v1/+/+/up/telemetry",
        "",
        "/",
        "dashfleet/v1/home/attic",
        "dashfleet/v1/home/attic/up/status/more",
        "dashfleet/v1/home/attic/up/#",
        "/dashfleet/v1/home/attic/up/status",
    ],
)
def test_a_filter_that_asks_for_more_than_is_granted_is_denied(principal: Principal, wanted: str) -> None:
    assert not allowed(principal, Verb.SUBSCRIBE, wanted)


def test_a_plus_may_be_asked_for_only_where_a_plus_is_granted() -> None:
    assert allowed(READER, Verb.SUBSCRIBE, "dashfleet/v1/home/+/up/telemetry")
    assert not allowed(READER, Verb.SUBSCRIBE, "dashfleet/v1/+/+/up/telemetry")
    assert not allowed(READER, Verb.SUBSCRIBE, "dashfleet/v1/home/+/+/telemetry")
    assert not allowed(MACHINE, Verb.SUBSCRIBE, "dashfleet/v1/home/+/down/command")


@pytest.mark.parametrize("principal", EVERYBODY)
@pytest.mark.parametrize("verb", [Verb.PUBLISH, Verb.RECEIVE])
def test_a_wildcard_is_no_topic(principal: Principal, verb: Verb) -> None:
    mine = grants(principal)
    for filter_ in (*mine.publish, *mine.read):
        if "+" in filter_:
            assert not allowed(principal, verb, filter_)


def test_a_wildcard_for_machines_does_not_reach_what_is_reserved() -> None:
    assert not covers("dashfleet/v1/home/+/x", "dashfleet/v1/home/_actions/x")
    assert not covers("dashfleet/v1/home/+/x", "dashfleet/v1/home/_alerts/x")


@given(st.text())
def test_asking_never_raises(topic: str) -> None:
    for principal, verb in product(EVERYBODY, Verb):
        allowed(principal, verb, topic)


level = st.sampled_from(("a", "b", "_actions", ""))
granted_filter = st.lists(level | st.just("+"), min_size=1, max_size=4).map("/".join)
wanted_filter = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(level | st.just("+"), min_size=1, max_size=4),
    st.sampled_from(((), ("#",))),
)


@given(granted_filter, wanted_filter, st.lists(level, min_size=1, max_size=5))
def test_what_a_covered_filter_matches_is_matched_by_the_grant(grant: str, wanted: str, levels: list[str]) -> None:
    topic = "/".join(levels)
    if covers(grant, wanted) and matches(wanted, topic):
        assert matches(grant, topic)


def test_a_covered_filter_matches_nothing_beyond_the_grant_in_a_whole_small_world() -> None:
    names = ("a", "b", "_actions")
    filters = ["/".join(levels) for n in (1, 2, 3) for levels in product((*names, "+", "#"), repeat=n)]
    world = ["/".join(levels) for n in (1, 2, 3, 4) for levels in product(names, repeat=n)]
    reach = {
        filter_: frozenset(topic for topic in world if matches(filter_, topic))
        for filter_ in filters
        if "#" not in filter_[:-1]
    }
    pairs = [(grant, wanted) for grant in reach if "#" not in grant for wanted in reach if covers(grant, wanted)]
    assert len(pairs) > 100
    assert [pair for pair in pairs if not reach[pair[1]] <= reach[pair[0]]] == []


@given(granted_filter, st.lists(st.sampled_from(("a", "b", "")), min_size=1, max_size=4))
def test_a_topic_without_reserved_levels_is_covered_by_every_filter_that_matches_it(
    grant: str, levels: list[str]
) -> None:
    topic = "/".join(levels)
    assert covers(grant, topic) == matches(grant, topic)


def matches(filter_: str, topic: str) -> bool:
    """MQTT's matching, as its specification tells it (4.7)."""
    wanted, levels = filter_.split("/"), topic.split("/")
    for index, own in enumerate(wanted):
        if own == "#":
            return True
        if index >= len(levels) or own not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("org", ["", "acme"])
def test_only_the_dashboard_may_publish_where_an_organisation_can_be_changed(role: Role, org: str) -> None:
    for name in ("dashboard", "x"):
        principal = Principal(role, org, name)
        levels = ("_dashboard", "_x", "__x", principal.level)
        reached = [
            level
            for level in levels
            if may_administer(level)
            and allowed(principal, Verb.PUBLISH, topics.REQUEST.at(org="acme", principal=level))
        ]
        assert not reached or (role is Role.DASHBOARD and set(reached) == {principal.level})
