"""The pages as Streamlit runs them, without a browser; see also tests/browser."""

from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import pytest
from clocks import Clock
from rollups import Keeper, arrived
from seeding import NOW, Fleet
from sqlalchemy import Engine, update
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.testing.v1 import AppTest

from dashboard.auth.users import UserRole
from dashboard.page.page import PageContext
from runtime.urls import sqlite_url
from schemas.database.engine import open_engine
from schemas.database.tables import alert

Open = Callable[..., AppTest]


def page(name: str, context: "PageContext") -> None:  # its source runs alone
    from dataclasses import replace
    from importlib import import_module

    import streamlit as st

    from dashboard.page import refresh, system_status

    refresh.auto_refresh(lambda: system_status.banner(context), seconds=2.0, key="banner")
    fleet = st.Page(lambda: None, title="Fleet", url_path="fleet", default=True)
    st.navigation([fleet], position="hidden")
    arrived = st.session_state.get("page") != name
    st.session_state["page"] = name
    pages = {"fleet": fleet, "machine": fleet, "problems": fleet}
    import_module(f"dashboard.pages.{name}").show(replace(context, arrived=arrived, pages=pages))


@pytest.fixture
def visit(reader: Engine) -> Open:
    def visit(name: str, *, engine: Engine = reader, org: str = "home", **query: str) -> AppTest:
        context = PageContext(
            engine=engine,
            org=org,
            user="ada",
            role=UserRole.VIEWER,
            zone=UTC,
            refresh_seconds=5.0,
            clock=Clock(),
        )
        at = AppTest.from_function(page, kwargs={"name": name, "context": context}, default_timeout=60)
        for key, value in query.items():
            at.query_params[key] = value
        at.run()
        assert not at.exception
        return at

    return visit


def shown(at: AppTest) -> str:
    """Return all HTML of a page."""
    return "\n".join(str(element.proto.body) for element in at.get("html"))


def test_an_empty_fleet_says_how_to_add_a_machine(fleet: Fleet, visit: Open) -> None:
    fleet.org()
    at = visit("fleet")
    assert "No machines yet" in shown(at)
    assert at.code[0].value == "dashfleet token create --org home"
    assert "/install.sh | sudo sh -s -- --from" in at.code[1].value
    assert not at.text_input


def test_filters_that_match_nothing_can_be_cleared(fleet: Fleet, visit: Open) -> None:
    fleet.machine("web-1")
    at = visit("fleet", q="nothing", health="critical")
    assert "No machine matches" in shown(at)
    at.button[0].click().run()
    assert "No machine matches" not in shown(at)
    assert "1–1 of 1" in shown(at)
    assert dict(at.query_params) == {}


def test_the_address_sets_the_filters_and_the_filters_the_address(fleet: Fleet, visit: Open) -> None:
    fleet.machine("web-1")
    at = visit("fleet", q="web", sort="cpu", dir="desc")
    assert at.text_input[0].value == "web"
    at.text_input[0].set_value("web-1").run()
    assert dict(at.query_params) == {"q": "web-1", "sort": "cpu", "dir": "desc"}


def answered(at: AppTest) -> None:
    """Set the state that a refresh finds once the browser has the page."""
    at.session_state["fleet.coming"] = False
    at.session_state["address.left"] = []


def test_what_was_searched_in_a_run_that_was_cut_short_is_kept_though_the_address_is_of_before(
    fleet: Fleet, visit: Open
) -> None:
    fleet.machine("web-1")
    at = visit("fleet", sort="cpu")
    answered(at)
    at.text_input[0].set_value("web").run()
    del at.query_params["q"]  # the browser received nothing of that run
    at.run()
    assert at.text_input[0].value == "web"
    assert dict(at.query_params) == {"q": "web", "sort": "cpu"}


def test_an_address_that_somebody_goes_back_to_sets_the_filters(fleet: Fleet, visit: Open) -> None:
    fleet.machine("web-1")
    at = visit("fleet", sort="cpu")
    answered(at)
    at.text_input[0].set_value("web").run()
    answered(at)
    del at.query_params["q"]
    at.run()
    assert at.text_input[0].value == ""
    assert dict(at.query_params) == {"sort": "cpu"}


def test_systems_versions_and_labels_are_chosen_counted_and_cleared(fleet: Fleet, visit: Open) -> None:
    fleet.machine("web-1", labels={"site": "paris"})
    fleet.machine("web-2", os="FreeBSD", labels={"site": "lyon"})
    at = visit("fleet", label="site=paris", sort="cpu")
    assert "1–1 of 1" in shown(at)
    assert [(each.label, each.options) for each in at.multiselect] == [
        ("Operating system", ["Debian GNU/Linux", "FreeBSD"]),
        ("Agent version", ["0.1.0"]),
        ("Label", ["site=lyon", "site=paris"]),
        ("Labels with a column", ["site"]),
        ("Readings and lists with a column", ["Fan speed", "Print queue"]),
    ]
    at.multiselect[0].set_value(["FreeBSD"]).run()
    assert "No machine matches" in shown(at)
    assert dict(at.query_params) == {"os": "FreeBSD", "label": "site=paris", "sort": "cpu"}
    at.button(key="fleet_clear").click().run()
    assert "1–2 of 2" in shown(at)
    assert dict(at.query_params) == {"sort": "cpu"}
    assert [each.value for each in at.multiselect] == [[], [], [], [], []]


def test_what_narrows_the_fleet_is_shown_and_removed_one_by_one(fleet: Fleet, visit: Open) -> None:
    fleet.machine("web-1", labels={"site": "paris"})
    at = visit("fleet", label="site=paris", status="offline", need="attention")
    chips = ("labels.site=paris", "presences.offline", "attention.attention")
    labels = [at.button(key=f"fleet.chip.{chip}").label for chip in chips]
    assert labels == ["site\\: paris", "Offline", "Needs attention"]
    for chip in chips[1:]:
        at.button(key=f"fleet.chip.{chip}").click().run()
    assert dict(at.query_params) == {"label": "site=paris"}
    assert "1–1 of 1" in shown(at)
    at.button(key=f"fleet.chip.{chips[0]}").click().run()
    assert dict(at.query_params) == {}
    assert [each.value for each in at.multiselect] == [[], [], [], [], []]


def test_a_choice_that_no_machine_has_any_more_can_be_taken_back(fleet: Fleet, visit: Open) -> None:
    fleet.machine("web-1")
    at = visit("fleet", os="Plan 9")
    assert at.multiselect[0].value == ["Plan 9"]
    at.multiselect[0].set_value([]).run()
    assert "1–1 of 1" in shown(at)


def test_a_page_that_is_no_more_shows_the_first(fleet: Fleet, visit: Open) -> None:
    fleet.machine("web-1")
    at = visit("fleet", page="7")
    assert "1–1 of 1" in shown(at)
    assert dict(at.query_params) == {}


def test_a_machine_says_what_it_is(fleet: Fleet, visit: Open) -> None:
    key = fleet.machine("web-1", labels={"site": "paris"}, reason="connected")
    fleet.samples(key, [NOW - 10_000, NOW - 1], cpu_percent=5.0, network_sent_bytes=lambda i: i * 20_000)
    fleet.transition(key, NOW - 60_000, "unknown", "online", "connected")
    html = shown(visit("machine", id="web-1"))
    for expected in ("web-1", "site: paris", "8 cores", "6 GiB of 16 GiB", "1,180 rpm", "2 kB/s", "connected"):
        assert expected in html, expected


@pytest.mark.parametrize("name", ["gone", "theirs", "../etc", "", "<script>"])
def test_an_unknown_machine_and_another_organisations_look_the_same(fleet: Fleet, visit: Open, name: str) -> None:
    fleet.machine("theirs", org="other")
    assert "Machine not found" in shown(visit("machine", id=name))


def test_text_from_a_machine_is_text(fleet: Fleet, visit: Open) -> None:
    fleet.machine("evil", hostname="<img src=x onerror=alert(1)>", labels={"a": "<b>"}, os="<script>")
    html = shown(visit("machine", id="evil"))
    assert "<img src=x" not in html
    assert "<script>" not in html
    assert "&lt;img src=x" in html


def test_the_range_is_in_the_address(fleet: Fleet, visit: Open) -> None:
    fleet.machine("web-1")
    assert visit("machine", id="web-1", range="24h").session_state["machine.range"] == "24h"
    assert visit("machine", id="web-1", range="9y").session_state["machine.range"] == "1h"


@pytest.mark.parametrize("chosen", ["1h", "6h", "24h", "7d", "30d", "1y"])
def test_every_range_is_drawn_from_what_is_kept_of_it(fleet: Fleet, visit: Open, chosen: str) -> None:
    keeper = Keeper(fleet.engine)
    key = fleet.machine("web-1")
    keeper.write(arrived(key, fleet.now - 10 * 60_000, 1), arrived(key, fleet.now - 90 * 60_000, 2))
    keeper.finish()
    page = visit("machine", id="web-1", range=chosen)
    assert page.session_state["machine.range"] == chosen
    assert "No data in this time range." not in shown(page)
    assert ("Lines are averages" in shown(page)) == (chosen not in ("1h", "6h"))


def test_a_silent_ingestor_and_a_lost_broker_are_announced(fleet: Fleet, visit: Open) -> None:
    fleet.machine("web-1")
    assert "No ingestor has ever reported" in shown(visit("fleet"))
    fleet.beat(NOW - 7_000)
    assert "ingestor" not in shown(visit("fleet"))
    fleet.beat(NOW - 7_001)
    assert "The ingestor has not reported since 22:13:12" in shown(visit("fleet"))
    fleet.beat(NOW, broker_connected=False)
    assert "no connection to the broker" in shown(visit("fleet"))


def test_a_database_that_is_away_is_announced_and_nothing_breaks(visit: Open, tmp_path: Path) -> None:
    away = open_engine(sqlite_url(tmp_path / "away.db"), read_only=True)
    for name in ("fleet", "machine"):
        assert "The database cannot be read" in shown(visit(name, engine=away, id="web-1"))


def test_when_the_database_goes_away_the_last_figures_stay(
    fleet: Fleet, visit: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    from dashboard.events import timeline
    from schemas.database.queries import heartbeat, history, machines, settings

    fleet.machine("web-1")
    fleet.beat(NOW)
    at = visit("machine", id="web-1")

    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(heartbeat, "latest_heartbeat", away)
    monkeypatch.setattr(settings, "read_settings", away)
    monkeypatch.setattr(history, "read_history", away)
    monkeypatch.setattr(machines, "find_machine", away)
    monkeypatch.setattr(timeline, "read_page", away)
    at.run()
    assert not at.exception
    assert "The database cannot be read since 22:13:20" in shown(at)
    assert "6 GiB of 16 GiB" in shown(at)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("interrupted", "took too long to read and shows its last state"),
        ("broken", "cannot be read and shows its"),
    ],
)
def test_a_single_query_that_fails_is_said_until_it_succeeds(
    fleet: Fleet, visit: Open, monkeypatch: pytest.MonkeyPatch, error: str, said: str
) -> None:
    from sqlalchemy.exc import OperationalError

    from schemas.database.queries import history

    fleet.machine("web-1")
    fleet.beat(NOW)
    at = visit("machine", id="web-1")
    assert "A part of this page" not in shown(at)

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, Exception(error))

    with monkeypatch.context() as failing:
        failing.setattr(history, "read_history", fail)
        at.run()
        at.run()
        assert not at.exception
        assert said in shown(at)
    at.run()
    at.run()
    assert "A part of this page" not in shown(at)


def test_an_alert_by_its_address_says_who_attends_to_it_and_why(fleet: Fleet, visit: Open) -> None:
    fleet.alert(fleet.machine("web-1"), "disk", NOW - 1000, title="Disk nearly full", severity="critical")
    values = {"acknowledged_at": NOW, "acknowledged_by": "ada", "acknowledged_comment": "<b>on my way</b>"}
    with fleet.engine.begin() as connection:
        connection.execute(update(alert).values(values))
    html = shown(visit("problems", id="alert-1"))
    assert "Acknowledged by ada · &lt;b&gt;on my way&lt;/b&gt;" in html


def test_the_filters_of_the_problems_are_in_the_address_and_can_be_cleared(fleet: Fleet, visit: Open) -> None:
    fleet.alert(fleet.machine("web-1"), "disk", NOW - 1000, title="Disk nearly full", severity="critical")
    at = visit("problems", severity="warning", rule="disk")
    assert "No problem matches" in shown(at)
    assert [each.value for each in at.selectbox] == ["disk", ""]
    at.button(key="problems_clear").click().run()
    assert "No problem matches" not in shown(at)
    assert dict(at.query_params) == {}
    at.text_input[0].set_value("web").run()
    assert dict(at.query_params) == {"q": "web"}
    assert "No active problems" not in shown(at)


def test_a_mass_silence_names_its_machines_and_what_they_are_now(fleet: Fleet, visit: Open) -> None:
    fleet.machine("web-1", presence="offline")
    fleet.incident("mass-silence", org="home", machines=2, of=9, names=["web-1", "web-2"])
    html = shown(visit("problems", id="incident-1"))
    assert "2 of 9 machines stopped reporting at the same time: web-1, web-2" in html


@pytest.mark.parametrize("id_", ["incident-1", "alert-1", "alert-99", "alert-", "alert-1' OR 1=1", "x" * 200])
def test_a_problem_of_another_organisation_looks_as_if_it_did_not_exist(fleet: Fleet, visit: Open, id_: str) -> None:
    fleet.org()
    fleet.alert(fleet.machine("theirs", org="other"), "disk", NOW)
    fleet.incident("mass-silence", org="other", machines=1, of=1, names=["theirs"])
    assert "Problem not found" in shown(visit("problems", id=id_))


@pytest.mark.parametrize("name", ["fleet", "machine", "timeline", "problems", "activity", "settings"])
def test_whatever_of_a_page_refreshes_before_the_browser_has_it_all_of_it_finds_its_place(
    fleet: Fleet, visit: Open, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    sent: list[ForwardMsg] = []
    enqueue = ForwardMsgQueue.enqueue

    def noted(queue: ForwardMsgQueue, message: ForwardMsg) -> None:
        sent.append(message)
        enqueue(queue, message)

    monkeypatch.setattr(ForwardMsgQueue, "enqueue", noted)
    fleet.machine("web-1")
    visit(name, id="web-1")
    drawn = [message for message in sent if message.HasField("delta")]
    refreshing = {message.auto_rerun.fragment_id for message in sent if message.HasField("auto_rerun")}
    assert len(refreshing) > 1
    for fragment in refreshing:
        again = [message for message in drawn if message.delta.fragment_id == fragment]
        assert again
        places = {(0,): 0, (1,): 0, (2,): 0, (3,): 0}
        for message in [*(message for message in drawn if message not in again), *again]:
            *parent, index = message.metadata.delta_path
            assert index <= places[tuple(parent)], f"{fragment} leaves no place for {message}"
            places[tuple(parent)] = max(places[tuple(parent)], index + 1)
            places[*parent, index] = 0
