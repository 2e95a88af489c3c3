"""Changes of an organisation, asked for over MQTT: what is done, once, and what is refused. On every database."""

from collections.abc import Callable
from typing import Any

import pytest
from acting import Ears, Operator, new_id
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select

from broker.access.credentials import hash_secret, new_secret, new_token
from broker.access.policy import Principal, Role
from broker.access.principals import TableDirectory
from broker.client.transport import Message
from ingestor.admin import access, tokens
from schemas.contract import topics
from schemas.contract.administration import (
    AddPrincipal,
    AddToken,
    Administration,
    ChangeKeys,
    ClearDeadLetters,
    ConfigureOrg,
    DeleteRule,
    ReinstateMachine,
    RetireMachine,
    RevokePrincipal,
    RevokeToken,
    RotatePrincipal,
    SetRule,
)
from schemas.contract.alert_rules import RULES_MAX, AlertRule
from schemas.contract.commands import Request
from schemas.contract.org_config import OrgConfig
from schemas.contract.signing import KeyChange, new_key, public_key, sign
from schemas.database import tables
from schemas.database.queries.dead_letters import list_dead_letters
from schemas.database.queries.machines import list_machines
from schemas.database.rule_rows import rule_values

DASHBOARD = "_dashboard"
RECORD = hash_secret("made-up")
EVERY_CHANGE = (
    ConfigureOrg(settings={"time_to_live_seconds": 3600}),
    AddToken(name="token-1", secret_hash=RECORD, uses=1, lifetime_seconds=60),
    RevokeToken(name="token-0"),
    AddPrincipal(name="mallory", role="operator", secret_hash=RECORD),
    RotatePrincipal(name="grafana", secret_hash=RECORD),
    RevokePrincipal(name="grafana"),
    RetireMachine(machine="attic"),
    ReinstateMachine(machine="cellar"),
    ClearDeadLetters(),
    SetRule(rule=AlertRule(name="cpu", title="CPU", kind="above", metric="cpu_percent", threshold=1)),
    DeleteRule(name="disk"),
    ChangeKeys(change=sign(KeyChange(change="add", org="home", public_key=public_key(new_key()), at=1), new_key())),
)


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def dashboard(clock: Clock) -> Operator:
    return Operator(clock, level=DASHBOARD)


@pytest.fixture
def ears(bench: Bench) -> Ears:
    return Ears(bench.broker)


@pytest.fixture
def ask(bench: Bench, dashboard: Operator, ears: Ears) -> Callable[[Administration], tuple[str, str]]:
    """Has the dashboard ask for a change; returns the answer's state and detail."""

    def ask(change: Administration) -> tuple[str, str]:
        bench.publish(dashboard.administer(change))
        bench.step()
        (answer,) = ears.updates(DASHBOARD)
        return answer.state, answer.detail

    return ask


Ask = Callable[[Administration], tuple[str, str]]


def everything(fleet: Engine, *, org: str = "%") -> list[Any]:
    """All that a change may change, of one organisation or of all."""
    own = select(tables.org.c.id).where(tables.org.c.name.like(org))
    queries = (
        select(tables.org).where(tables.org.c.name.like(org)),
        select(tables.principal).where(tables.principal.c.org.like(org)),
        select(tables.token).where(tables.token.c.username.like(f"{org}.%")),
        select(tables.machine).where(tables.machine.c.org_id.in_(own)),
        select(tables.alert_rule).where(tables.alert_rule.c.org_id.in_(own)),
    )
    with fleet.connect() as connection:
        return [sorted(map(str, connection.execute(query))) for query in queries]


def requests(fleet: Engine) -> list[Any]:
    query = select(tables.request, tables.org.c.name.label("org")).join(tables.org)
    with fleet.connect() as connection:
        return list(connection.execute(query))


def lets_in(fleet: Engine, username: str, secret: str, clock: Clock) -> Principal | None:
    """Whom a broker that reads the table now takes this for."""
    directory = TableDirectory(fleet, clock=clock)
    directory.refresh()
    entry = directory.find(username)
    return entry.principal if entry is not None and entry.record_of(secret) is not None else None


def test_settings_are_changed_recorded_and_published(bench: Bench, ask: Ask, fleet: Engine) -> None:
    state, detail = ask(ConfigureOrg(settings={"cpu_knee_percent": 65, "keep_samples_seconds": 7200}))
    assert (state, detail) == ("accepted", "cpu_knee_percent 50 % → 65 %, keep_samples_seconds 2 d → 2 h")
    bench.step(6)
    said = OrgConfig.decode(bench.broker.retained[topics.ORG_CONFIG.at(org="home")].payload)
    assert said.thresholds.cpu.knee_percent == 65
    assert access.org_settings(fleet, "home")["keep_samples_seconds"] == 7200
    assert access.org_settings(fleet, "office") == access.org_settings(fleet, "office") | {
        "cpu_knee_percent": 50,
        "keep_samples_seconds": 172_800,
    }
    (row,) = requests(fleet)
    assert (row.kind, row.actor, row.principal, row.state, row.detail) == (
        "configure-org",
        "Ada",
        DASHBOARD,
        "accepted",
        detail,
    )


def test_two_changes_of_different_settings_both_stay(ask: Ask, fleet: Engine) -> None:
    ask(ConfigureOrg(settings={"stale_seconds": 60}))
    ask(ConfigureOrg(settings={"offline_seconds": 300}))
    found = access.org_settings(fleet, "home")
    assert (found["stale_seconds"], found["offline_seconds"]) == (60, 300)


def test_a_token_for_one_machine_is_described_in_the_singular(ask: Ask) -> None:
    one = new_token("home")
    add = AddToken(name=one.name, secret_hash=hash_secret(one.secret), uses=1, lifetime_seconds=3600)
    assert ask(add) == ("accepted", f"{one.name}: 1 machine within 1 h")


def test_a_token_is_made_enrols_and_is_ended(ask: Ask, fleet: Engine, clock: Clock) -> None:
    token = new_token("home")
    add = AddToken(name=token.name, secret_hash=hash_secret(token.secret), uses=3, lifetime_seconds=3600)
    assert ask(add) == ("accepted", f"{token.name}: 3 machines within 1 h")
    username = f"home._{token.name}"
    assert lets_in(fleet, username, token.secret, clock) == Principal(Role.ENROL, "home", token.name)
    (row,) = tokens.list_tokens(fleet, "home")
    assert (row["uses"], row["expires"], row["created_by"]) == (3, clock.now() + 3_600_000, "Ada")
    assert ask(RevokeToken(name=token.name)) == ("accepted", token.name)
    assert lets_in(fleet, username, token.secret, clock) is None
    assert ask(add)[0] == "refused", "a token that was ended does not come back"


def test_a_program_is_let_in_gets_another_secret_and_is_revoked(ask: Ask, fleet: Engine, clock: Clock) -> None:
    first, second = new_secret(), new_secret()
    assert ask(AddPrincipal(name="grafana", role="reader", secret_hash=hash_secret(first))) == (
        "accepted",
        "grafana, a reader",
    )
    assert lets_in(fleet, "home._grafana", first, clock) == Principal(Role.READER, "home", "grafana")
    assert ask(RotatePrincipal(name="grafana", secret_hash=hash_secret(second), overlap_seconds=60))[0] == "accepted"
    assert lets_in(fleet, "home._grafana", first, clock)
    clock.advance(61)
    assert lets_in(fleet, "home._grafana", first, clock) is None
    assert lets_in(fleet, "home._grafana", second, clock)
    assert ask(RevokePrincipal(name="grafana")) == ("accepted", "grafana")
    assert lets_in(fleet, "home._grafana", second, clock) is None


def test_dead_letters_are_cleared_of_the_organisation_only_and_not_those_that_came_later(
    bench: Bench, ask: Ask, fleet: Engine, clock: Clock
) -> None:
    def reject(org: str, machine: str) -> None:
        bench.publish(Message(topics.TELEMETRY.at(org=org, machine=machine), b"evidence"))
        bench.step()

    reject("home", "attic")
    reject("home", "cellar")
    reject("office", "attic")
    seen = clock.now()
    clock.advance(1)
    reject("home", "attic")
    assert ask(ClearDeadLetters(machine="attic", until=seen)) == ("accepted", "1 deleted, of attic")
    assert sorted(letter["machine"] for letter in list_dead_letters(fleet, org_name="home", limit=9)) == [
        "attic",
        "cellar",
    ]
    assert ask(ClearDeadLetters()) == ("accepted", "2 deleted, of all senders")
    assert [letter["org"] for letter in list_dead_letters(fleet, limit=9)] == ["office"]


def test_a_rule_is_added_changed_and_removed_and_recorded(ask: Ask, fleet: Engine, clock: Clock) -> None:
    rule = AlertRule(name="hot", title="Hot", kind="above", metric="temperature_celsius", threshold=80, for_seconds=60)
    described = "temperature_celsius at least 80, for 1 min, clear after 1 min, warning, all machines"
    assert ask(SetRule(rule=rule)) == ("accepted", f"hot: {described}")
    assert ask(SetRule(rule=rule)) == ("accepted", "hot: nothing changed")
    assert ask(SetRule(rule=rule.model_copy(update={"enabled": False}))) == ("accepted", f"hot: {described}, disabled")
    with fleet.connect() as connection:
        changed = connection.scalar(select(tables.alert_rule.c.changed_at).where(tables.alert_rule.c.name == "hot"))
    assert changed is not None
    assert changed > clock.now(), "a change at the same moment is noticed too"
    assert ask(DeleteRule(name="hot")) == ("accepted", "hot")
    assert sorted(row.kind for row in requests(fleet)) == ["delete-rule"] + ["set-rule"] * 3


def test_an_organisation_has_a_bounded_number_of_rules(ask: Ask, fleet: Engine) -> None:
    rule = AlertRule(name="hot", title="Hot", kind="away")
    with fleet.begin() as connection:
        org = connection.scalar(select(tables.org.c.id).where(tables.org.c.name == "home"))
        have = connection.execute(select(tables.alert_rule).where(tables.alert_rule.c.org_id == org)).all()
        for number in range(RULES_MAX - len(have)):
            values = rule_values(rule.model_copy(update={"name": f"r{number}"}), 0)
            connection.execute(tables.alert_rule.insert().values(org_id=org, **values))
    assert ask(SetRule(rule=rule)) == ("refused", f"home has {RULES_MAX} rules: remove one first")
    assert ask(SetRule(rule=rule.model_copy(update={"name": "r0", "title": "Other"})))[0] == "accepted"


def test_a_machine_is_retired_and_comes_back_with_its_own_secret(
    bench: Bench, speaker: Speaker, ask: Ask, fleet: Engine, clock: Clock
) -> None:
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step()
    assert ask(RetireMachine(machine="attic")) == ("accepted", "attic")
    bench.step(2)
    presence = {(row["org"], row["machine"]): row["presence"] for row in list_machines(fleet)}
    assert presence == {("home", "attic"): "retired", ("office", "attic"): "unknown"}
    assert lets_in(fleet, "home.attic", "made-up", clock) is None
    assert ask(RetireMachine(machine="attic")) == ("refused", "home.attic is revoked already")
    assert ask(ReinstateMachine(machine="attic")) == ("accepted", "attic")
    bench.step(2)
    assert lets_in(fleet, "home.attic", "made-up", clock)
    bench.publish(speaker.status(session=2), speaker.telemetry(2))
    bench.step()
    presence = {(row["org"], row["machine"]): row["presence"] for row in list_machines(fleet)}
    assert presence["home", "attic"] in ("online", "offline")
    assert ask(ReinstateMachine(machine="attic")) == ("refused", "home.attic is not revoked")


@pytest.mark.parametrize("change", EVERY_CHANGE, ids=lambda change: change.kind)
@pytest.mark.parametrize("level", ["ops", "dashboard"])
def test_only_the_dashboard_may_ask_whatever_it_says_of_its_actor(
    bench: Bench, clock: Clock, ears: Ears, fleet: Engine, change: Administration, level: str
) -> None:
    access.new_principal(fleet, "home", "grafana", "reader", now=clock.now)
    bench.publish(Message(topics.TELEMETRY.at(org="home", machine="attic"), b"evidence"))
    before = everything(fleet)
    bench.publish(Operator(clock, level=level).administer(change))
    bench.step()
    assert everything(fleet) == before
    (answer,) = ears.updates(level)
    assert (answer.state, answer.detail) == ("refused", "only the dashboard may ask for this, for its admins")
    (row,) = requests(fleet)
    assert (row.kind, row.state, row.principal) == (change.kind, "refused", f"home._{level}")
    assert len(list_dead_letters(fleet, limit=9)) == 1


@pytest.mark.parametrize("change", EVERY_CHANGE, ids=lambda change: change.kind)
def test_what_is_asked_of_one_organisation_changes_nothing_of_another(
    bench: Bench, clock: Clock, fleet: Engine, change: Administration
) -> None:
    access.new_principal(fleet, "home", "grafana", "reader", now=clock.now)
    access.add_principal(fleet, Principal(Role.MACHINE, "home", "cellar"), "made-up", now=clock.now)
    access.revoke_principal(fleet, "home.cellar", now=clock.now)

    before = everything(fleet, org="home")
    bench.publish(Operator(clock, org="office", level=DASHBOARD).administer(change))
    bench.step()
    assert everything(fleet, org="home") == before
    assert [row.org for row in requests(fleet)] == ["office"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (ConfigureOrg(settings={"time_to_live_seconds": 1}), "time_to_live_seconds must be at least 60"),
        (ConfigureOrg(settings={"colour": 1}), "there is no setting colour"),
        (ConfigureOrg(settings={"cpu_weight": 0.9}), "the weights of cpu, memory and disk must sum to 1"),
        (
            AddToken(name="grafana", secret_hash=RECORD, uses=1, lifetime_seconds=60),
            "there is, or was, a home._grafana",
        ),
        (RevokeToken(name="grafana"), "there is no token home._grafana"),
        (AddPrincipal(name="grafana", role="reader", secret_hash=RECORD), "home._grafana exists already"),
        (AddPrincipal(name="token-0", role="reader", secret_hash=RECORD), "home._token-0 exists already"),
        (RotatePrincipal(name="nobody", secret_hash=RECORD), "there is no principal home._nobody"),
        (RotatePrincipal(name="token-0", secret_hash=RECORD), "token-0 is neither a reader nor an operator"),
        (RevokePrincipal(name="token-0"), "token-0 is neither a reader nor an operator"),
        (RetireMachine(machine="cellar"), "home has no machine cellar"),
        (ReinstateMachine(machine="attic"), "home.attic is not revoked"),
        (DeleteRule(name="nothing"), "home has no rule nothing"),
    ],
    ids=lambda value: value.kind if hasattr(value, "kind") else "",
)
def test_what_cannot_be_done_is_refused_with_a_reason_and_changes_nothing(
    ask: Ask, fleet: Engine, clock: Clock, change: Administration, said: str
) -> None:
    access.new_principal(fleet, "home", "grafana", "reader", now=clock.now)
    with fleet.begin() as connection:
        tokens.insert_token(connection, "home", "token-0", RECORD, 1, clock.now() + 60_000, "me", clock.now())
    before = everything(fleet)
    state, detail = ask(change)
    assert (state, detail[: len(said)]) == ("refused", said)
    assert everything(fleet) == before
    assert [(row.state, row.detail) for row in requests(fleet)] == [("refused", detail)]


def test_a_request_that_comes_again_is_done_once_and_answered_again(
    make_bench: Callable[[], Bench], dashboard: Operator, fleet: Engine
) -> None:
    first = make_bench()
    ears = Ears(first.broker)
    request = dashboard.administer(AddPrincipal(name="grafana", role="reader", secret_hash=RECORD))
    first.publish(request, request)
    first.step()
    assert ears.states(DASHBOARD) == ["accepted", "accepted"]
    second = make_bench()
    second.publish(request)
    second.step()
    assert [update.detail for update in ears.updates(DASHBOARD)] == ["grafana, a reader"]
    assert len(requests(fleet)) == 1


def test_an_old_request_said_again_does_not_undo_what_came_after_it(
    bench: Bench, dashboard: Operator, ears: Ears, fleet: Engine
) -> None:
    old = dashboard.administer(ConfigureOrg(settings={"stale_seconds": 60}))
    new = dashboard.administer(ConfigureOrg(settings={"stale_seconds": 90}))
    bench.publish(old, new, old)
    bench.step()
    assert ears.states(DASHBOARD) == ["accepted"] * 3
    assert access.org_settings(fleet, "home")["stale_seconds"] == 90


def test_an_id_that_another_request_has_changes_nothing(
    bench: Bench, clock: Clock, dashboard: Operator, ears: Ears, fleet: Engine
) -> None:
    operator, id_ = Operator(clock), new_id()
    bench.publish(operator.act(operator.order(), id_=id_))
    bench.step()
    before = everything(fleet)
    bench.publish(dashboard.administer(RetireMachine(machine="attic"), id_=id_))
    bench.step()
    (answer,) = ears.updates(DASHBOARD)
    assert (answer.state, answer.reason) == ("refused", "duplicate-id")
    assert everything(fleet) == before


@pytest.mark.parametrize(
    "change",
    [
        '{"kind": "add-principal", "name": "_dashboard", "role": "reader", "secret_hash": "%s"}',
        '{"kind": "add-principal", "name": "x", "role": "dashboard", "secret_hash": "%s"}',
        '{"kind": "add-principal", "name": "x", "role": "machine", "secret_hash": "%s"}',
        '{"kind": "add-principal", "name": "x", "role": "reader", "secret_hash": "in the clear"}',
        '{"kind": "add-token", "name": "t", "secret_hash": "%s", "uses": 100000, "lifetime_seconds": 60}',
        '{"kind": "add-token", "name": "t", "secret_hash": "%s", "uses": 1, "lifetime_seconds": 99999999}',
        '{"kind": "rotate-principal", "name": "office._x", "secret_hash": "%s"}',
        '{"kind": "retire-machine", "machine": "office.attic"}',
        '{"kind": "configure-org", "settings": {"stale_seconds": NaN}}',
        '{"kind": "configure-org", "settings": {}}',
        '{"kind": "drop-org"}',
    ],
)
def test_what_is_no_change_is_set_aside(bench: Bench, dashboard: Operator, fleet: Engine, change: str) -> None:
    before = everything(fleet)
    request = Request(id=new_id(), actor="Ada", change=RetireMachine(machine="attic")).encode().decode()
    message = dashboard.administer(RetireMachine(machine="attic"))
    spoilt = request.replace('{"kind":"retire-machine","machine":"attic"}', change.replace("%s", RECORD))
    assert spoilt != request
    bench.publish(type(message)(message.topic, spoilt.encode(), message.qos))
    bench.step()
    assert everything(fleet) == before
    assert requests(fleet) == []
    assert sum(n for name, n in bench.ingestor.counters.items() if name.startswith("rejected.")) == 1
