from typing import Any

import pytest
from seeding import NOW, Fleet
from sqlalchemy import Engine

from dashboard.fleet import rows
from schemas.database.queries import machines
from schemas.database.queries.fleet_order import SORT_ORDERS
from schemas.database.queries.machines import Counts, Filters


def cells(fleet: Fleet, reader: Engine, **given: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401 - columns of any type
    fleet.machine("m", **given)
    (row,) = rows.rows(machines.find_rows(reader, "home", ["m"]), NOW, None, path="/machine")
    return dict(zip((column.code for column in rows.COLUMNS), row["cells"], strict=True))


def test_a_row_leads_to_its_machine(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("web-1")
    (row,) = rows.rows(machines.find_rows(reader, "home", ["web-1"]), NOW, None, path="/machine")
    assert (row["id"], row["href"]) == ("web-1", "/machine?id=web-1")


def test_an_ordinary_machine(fleet: Fleet, reader: Engine) -> None:
    row = cells(fleet, reader, hostname="kassa7.example.org")
    assert row["machine"] == {"kind": "name", "text": "kassa7.example.org", "detail": "m", "hint": ""}
    assert row["status"] == {"kind": "chip", "text": "Online", "tone": "good", "hint": "Since 1 h"}
    assert row["cpu"] == {"kind": "bar", "text": "20 %", "percent": 20, "tone": "plain"}
    assert row["seen"]["text"] == "2 s ago"
    assert row["system"]["text"] == "Debian GNU/Linux 12"


def test_the_id_is_left_out_where_the_hostname_says_it(fleet: Fleet, reader: Engine) -> None:
    assert cells(fleet, reader, hostname="M.example.org")["machine"]["detail"] == ""


def test_what_is_unknown_is_a_dash(fleet: Fleet, reader: Engine) -> None:
    row = cells(fleet, reader, stated=False, os=None, os_version=None, agent_version=None, hostname=None)
    assert row["machine"]["text"] == "m"
    assert row["status"]["text"] == "Unknown"
    assert row["cpu"] == {"kind": "bar", "text": "–", "percent": None, "tone": "plain"}
    assert (row["uptime"]["text"], row["seen"]["text"], row["agent"]["text"]) == ("–", "never", "–")


def test_an_unverified_presence_carries_a_question_mark_and_says_why(fleet: Fleet, reader: Engine) -> None:
    status = cells(fleet, reader, verified=False)["status"]
    assert status["text"] == "Online?"
    assert status["hint"].startswith("Unverified: the ingestor could not listen")


def test_an_offline_machine_says_why_and_for_how_long(fleet: Fleet, reader: Engine) -> None:
    status = cells(fleet, reader, presence="offline", reason="lost", since_at=NOW - 7_200_000)["status"]
    assert (status["text"], status["tone"]) == ("Offline", "bad")
    assert status["hint"] == "The connection was lost, since 2 h"


@pytest.mark.parametrize("given", [{"presence": "offline"}, {"presence": "stale"}, {"verified": False}])
def test_of_a_machine_that_is_not_online_no_value_is_shown_as_current(
    fleet: Fleet, reader: Engine, given: dict[str, Any]
) -> None:
    row = cells(fleet, reader, cpu_percent=99.0, sampled_at=NOW - 900_000, since_at=NOW - 600_000, **given)
    assert row["health"] == {"kind": "chip", "text": "–", "tone": "plain", "hint": "", "detail": "as of 21:58"}
    for code in ("cpu", "memory", "disk", "full", "trend", "uptime"):
        assert (row[code]["aged"], row[code]["hint"]) == (True, "as of 21:58"), code
    assert (row["cpu"]["text"], row["cpu"]["tone"]) == ("99 %", "plain")
    assert row["since"]["text"] == "22:03"


def test_bars_are_coloured_as_the_score_counts(fleet: Fleet, reader: Engine) -> None:
    row = cells(fleet, reader, cpu_percent=74.0, memory_percent=81.0, disk_percent=97.5)
    assert [row[code]["tone"] for code in ("cpu", "memory", "disk")] == ["plain", "fair", "bad"]


COUNTS = Counts(
    {
        ("online", "ok", False): 5,
        ("online", "ok", True): 1,
        ("online", "critical", True): 2,
        ("offline", "unknown", True): 3,
        ("unknown", "unknown", False): 1,
        ("retired", "unknown", False): 7,
    }
)


def test_the_cards_begin_with_who_needs_attention_and_the_presences_add_up_to_all_machines() -> None:
    cards = rows.cards(COUNTS, Filters())
    shown = [(card["code"], card["count"]) for card in cards]
    assert shown == [
        ("attention", "6"),
        ("all", "12"),
        ("online", "8"),
        ("stale", "0"),
        ("offline", "3"),
        ("unknown", "1"),
        ("retired", "7"),
    ]
    assert [card["code"] for card in cards if card["apart"]] == ["all", "retired"]
    assert [card["code"] for card in cards if card["pressed"]] == ["all"]


def test_the_cards_add_up_also_with_a_filter_of_health() -> None:
    shown = {card["code"]: card["count"] for card in rows.cards(COUNTS, Filters(healths=("ok",)))}
    assert (shown["all"], shown["online"], shown["offline"], shown["stale"]) == ("6", "6", "0", "0")


def test_the_card_of_who_needs_attention_is_green_only_at_zero() -> None:
    assert rows.cards(COUNTS, Filters())[0]["tone"] == "bad"
    assert rows.cards(Counts({("online", "ok", False): 1}), Filters())[0]["tone"] == "good"


def test_a_card_that_filters_is_pressed_and_stays_when_it_counts_nothing() -> None:
    cards = rows.cards(Counts({("online", "ok", False): 1}), Filters(presences=("expired",)))
    assert [card["code"] for card in cards if card["pressed"]] == ["expired"]
    cards = rows.cards(COUNTS, Filters(attention=True))
    assert [card["code"] for card in cards if card["pressed"]] == ["attention"]


def test_the_header_says_what_it_is_sorted_by() -> None:
    columns = rows.columns(Filters(order="cpu", descending=True))
    assert {column["code"]: column["sorted"] for column in columns if column.get("sorted", "none") != "none"} == {
        "cpu": "descending"
    }
    assert {column["code"] for column in columns if "sorted" in column} == set(SORT_ORDERS)
    by_label = {
        each["code"]: each.get("sorted") for each in rows.columns(Filters(order="label-site"), ("site", "rack"))
    }
    assert (by_label["label-site"], by_label["label-rack"], by_label["labels"]) == ("ascending", "none", None)


@pytest.mark.parametrize(
    ("days", "outlook", "shown"),
    [(9, "full", "in 9 d"), (0, "full", "today"), (None, "slow", "over a year"), (None, "no-trend", "–")],
)
def test_a_row_says_when_the_disk_will_be_full(
    fleet: Fleet, reader: Engine, days: int | None, outlook: str, shown: str
) -> None:
    fleet.forecast(fleet.machine("m"), None if days is None else NOW + days * 86_400_000, outlook)
    (row,) = rows.rows(machines.find_rows(reader, "home", ["m"]), NOW, None, path="/machine")
    codes = [column.code for column in rows.COLUMNS]
    assert row["cells"][codes.index("full")]["text"] == shown


def test_labels_are_few_and_the_hint_names_them_all(fleet: Fleet, reader: Engine) -> None:
    row = cells(fleet, reader, labels={"site": "paris", "role": "=cmd()", "floor": "<b>3</b>"})
    assert row["labels"]["tags"] == ["floor: <b>3</b>", "role: =cmd()"]
    assert row["labels"]["more"] == "+1"
    assert row["labels"]["hint"] == "floor: <b>3</b>, role: =cmd(), site: paris"
    assert row["labels"]["picks"] == ["floor=<b>3</b>", "role==cmd()"]


def test_a_label_may_have_a_column_of_its_own_whose_values_can_be_picked(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("web-1", labels={"site": "paris", "role": "web"})
    fleet.machine("web-2", labels={"role": "web"})
    codes = [column["code"] for column in rows.columns(Filters(), ("site",))]
    found = machines.find_rows(reader, "home", ["web-1", "web-2"])
    one, other = rows.rows(found, NOW, None, path="/machine", label_keys=("site",))
    assert len(codes) == len(one["cells"])
    assert one["cells"][codes.index("label-site")] == {"kind": "pick", "text": "paris", "pick": "site=paris"}
    assert one["cells"][codes.index("labels")]["tags"] == ["role: web"]
    assert other["cells"][codes.index("label-site")]["text"] == "–"


@pytest.mark.parametrize(
    ("hostnames", "shown"),
    [
        (("a.example.org", "b.example.org", "c.example.org", "other"), ("a", "b", "c", "other")),
        (("a.example.org", "b.example.org"), ("a.example.org", "b.example.org")),
        (("a.one.org", "a.two.org", "b.one.org", "c.one.org"), ("a", "a.two.org", "b", "c")),
        (("a.one.org", "b.one.org", "c.one.org", "a"), ("a.one.org", "b.one.org", "c.one.org", "a")),
        (("10.0.0.1", "11.0.0.1", "12.0.0.1"), ("10.0.0.1", "11.0.0.1", "12.0.0.1")),
    ],
)
def test_a_common_domain_is_left_out_unless_names_would_become_the_same(
    fleet: Fleet, reader: Engine, hostnames: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    names = [f"m-{i}" for i in range(len(hostnames))]
    for name, hostname in zip(names, hostnames, strict=True):
        fleet.machine(name, hostname=hostname)
    drawn = rows.rows(machines.find_rows(reader, "home", names), NOW, None, path="/machine")
    assert tuple(row["cells"][0]["text"] for row in drawn) == shown
    assert all(row["cells"][0]["hint"] in ("", whole) for row, whole in zip(drawn, hostnames, strict=True))


def test_the_course_of_the_cpu_has_gaps_and_is_told_in_words(fleet: Fleet, reader: Engine) -> None:
    fleet.machine("m")
    found = machines.find_rows(reader, "home", ["m"])
    (row,) = rows.rows(found, NOW, None, {"m": [None, 10.4, None, 29.8]}, path="/machine")
    (line,) = [cell for cell in row["cells"] if cell["kind"] == "line"]
    assert line["points"] == " 5 ?"
    assert line["text"] == "CPU from 10 % to 30 %, 20 % on average"
    (row,) = rows.rows(found, NOW, None, {"m": [None, None]}, path="/machine")
    assert row["cells"][5] == {"kind": "text", "text": "–", "hint": ""}
