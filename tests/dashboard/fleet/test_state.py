import pytest

from dashboard.fleet import state
from dashboard.fleet.state import PAGE_SIZE, FleetView, RowSnapshot
from schemas.database.queries.machines import Filters

VIEW = FleetView(Filters(order="cpu"))


class Machines:
    """A query with these results, which counts its calls."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.asked = 0

    def __call__(self, _: FleetView) -> tuple[tuple[str, ...], int]:
        self.asked += 1
        return tuple(self.names[:PAGE_SIZE]), len(self.names)


@pytest.mark.parametrize(
    "view",
    [
        FleetView(),
        FleetView(Filters(search="web 1", presences=("stale", "offline"), healths=("critical",))),
        FleetView(Filters(order="cpu", descending=True), number=3),
        FleetView(
            Filters(systems=("Debian GNU/Linux", "FreeBSD"), versions=("0.1.0",), labels=("site=paris", "role="))
        ),
        FleetView(Filters(search="x", attention=True), map=True),
        FleetView(map=True, group="os"),
        FleetView(columns=("site", "role")),
        FleetView(Filters(order="facts-services"), readings=("series-disk_used_percent", "facts-services", "extra-x")),
        FleetView(map=True, group="label:site"),
        FleetView(
            Filters(systems=("A, B", "50 %", "%2C", "<script>alert(1)</script>"), labels=("a=b=c,d", "a=![x](y)"))
        ),
    ],
)
def test_an_address_leads_back_to_its_view(view: FleetView) -> None:
    assert state.parse(state.address(view)) == view


def test_the_usual_place_has_an_empty_address() -> None:
    assert state.address(FleetView()) == {}


def test_the_address_holds_codes_not_labels() -> None:
    query = state.address(FleetView(Filters(presences=("offline",), healths=("warn",))))
    assert query == {"status": "offline", "health": "warn"}


def test_what_an_address_names_wrongly_is_as_if_it_were_not_there() -> None:
    query = {"status": "broken,offline", "health": "<b>", "sort": "password", "dir": "up", "page": "-1", "q": "x" * 999}
    query["readings"] = "series-<b>,vitals-x,series-"
    view = state.parse(query)
    assert view == FleetView(Filters(search="x" * 100, presences=("offline",)))


def test_a_grouping_from_an_address_is_one_that_the_page_offers() -> None:
    for group in ("cpu", "label:", "label:<b>", 'label:"]', "label:Site"):
        assert state.parse({"view": "map", "group": group}) == FleetView(map=True)
    assert state.parse({"view": "globe", "group": "os"}) == FleetView()


def test_other_filters_lead_to_the_first_page_of_the_same_view() -> None:
    assert FleetView(number=3).narrowed(Filters(search="x")) == FleetView(Filters(search="x"))
    assert FleetView(map=True, group="os").narrowed(Filters(search="x")) == FleetView(
        Filters(search="x"), map=True, group="os"
    )


@pytest.mark.parametrize("text", ["", "a\nb", "a\x00b", "\x1b[2J", "\u202egnp.exe", "\ud800", "x" * 257])
def test_a_system_or_version_from_an_address_is_one_line_of_printable_text(text: str) -> None:
    assert state.parse({"os": f"{text},Debian", "version": text}) == FleetView(Filters(systems=("Debian",)))


@pytest.mark.parametrize("label", ["site", "=paris", '"]=x', "Site=x", "a.b=x", "$=x", "' OR 1=1", "site=a\x00"])
def test_a_label_from_an_address_is_a_key_that_labels_may_have_and_a_printable_value(label: str) -> None:
    assert state.parse({"label": f"{label},site=paris"}) == FleetView(Filters(labels=("site=paris",)))


def test_an_address_names_no_more_than_the_page_can_choose_and_nothing_twice() -> None:
    systems = ",".join(f"s{i // 2}" for i in range(10_000))
    assert state.parse({"os": systems}).filters.systems == tuple(f"s{i}" for i in range(state.CHOSEN_MAX))


@pytest.mark.parametrize("number", ["0", "²", "9" * 400, "1e3", " 2"])
def test_a_page_number_is_a_small_plain_number(number: str) -> None:
    assert state.parse({"page": number}).number == 1


def test_pressing_a_card_filters_and_pressing_it_again_does_not() -> None:
    once = state.press(Filters(), "offline")
    assert once.presences == ("offline",)
    assert state.press(once, "stale").presences == ("stale", "offline")
    assert state.press(once, "offline") == Filters()
    assert state.press(once, "all") == Filters()


def test_who_needs_attention_is_a_filter_of_its_own() -> None:
    pressed = state.press(Filters(search="web", presences=("stale",), healths=("ok",)), "attention")
    assert pressed == Filters(search="web", attention=True)
    assert state.press(pressed, "attention") == Filters(search="web")
    assert state.press(pressed, "offline") == Filters(search="web", presences=("offline",))
    assert state.press(pressed, "all") == Filters(search="web")


def test_a_label_that_is_picked_filters_and_picked_again_does_not() -> None:
    once = state.pick(Filters(labels=("role=web",)), "site=paris")
    assert once.labels == ("role=web", "site=paris")
    assert state.pick(once, "site=paris").labels == ("role=web",)
    for nonsense in ("paris", "", None, 7, "=x", "<b>=x"):
        assert state.pick(once, nonsense) == once


def test_each_filter_can_be_removed_alone() -> None:
    filters = Filters(presences=("offline", "stale"), systems=("A",), labels=("a=b", "c=d"), attention=True)
    assert state.without(filters, "labels", "a=b").labels == ("c=d",)
    assert state.without(filters, "presences", "stale").presences == ("offline",)
    assert state.without(filters, "attention", "attention") == Filters(
        presences=("offline", "stale"), systems=("A",), labels=("a=b", "c=d")
    )


def test_a_code_that_is_no_card_changes_nothing() -> None:
    assert state.press(Filters(), "'; DROP TABLE") == Filters()
    assert state.sort(Filters(), "password_hash") == Filters()


def test_a_header_sorts_its_useful_way_first_then_the_other() -> None:
    first = state.sort(Filters(), "cpu")
    assert (first.order, first.descending) == ("cpu", True)
    assert state.sort(first, "cpu").descending is False
    assert state.sort(first, "machine") == Filters(order="machine")


def test_the_header_of_a_label_sorts_by_its_values_and_the_address_says_so() -> None:
    first = state.sort(Filters(), "label-site")
    assert first == Filters(order="label-site")
    assert state.sort(first, "label-site").descending
    view = FleetView(first, columns=("site",))
    assert state.parse(state.address(view)) == view
    for wrong in ("label-", "label-a b", "label-'; DROP TABLE", "labels"):
        assert state.sort(Filters(), wrong) == Filters()
        assert state.parse({"sort": wrong}).filters == Filters()


def test_a_full_page_keeps_its_rows_whatever_the_order_would_be_now() -> None:
    machines = Machines(*(f"m{i}" for i in range(60)))
    before = state.refreshed(None, VIEW, machines, 1)
    machines.names.reverse()
    assert state.refreshed(before, VIEW, machines, 2) == before
    assert machines.asked == 1


def test_an_order_by_severity_is_outdated_when_another_machine_went_offline() -> None:
    machines = Machines("a", "b")
    for view, outdated in ((FleetView(), True), (VIEW, False), (FleetView(Filters(descending=True)), False)):
        before = state.refreshed(None, view, machines, 1, 500)
        assert not before.is_outdated(500)
        assert not before.is_outdated(None)
        assert before.is_outdated(600) is outdated
        assert state.refreshed(before, view, machines, 2, 600).newest_change == 500


def test_on_a_page_with_room_new_machines_join_at_the_end() -> None:
    machines = Machines("b", "c")
    before = state.refreshed(None, VIEW, machines, 1)
    machines.names = ["a", "c", "b"]
    after = state.refreshed(before, VIEW, machines, 2)
    assert (after.names, after.total, after.at) == (("b", "c", "a"), 3, 1)


def test_a_machine_that_no_longer_matches_stays_until_the_visitor_acts() -> None:
    machines = Machines("a", "b")
    before = state.refreshed(None, VIEW, machines, 1)
    machines.names = ["a"]
    assert state.refreshed(before, VIEW, machines, 2).names == ("a", "b")


def test_another_place_is_another_snapshot() -> None:
    machines = Machines("a")
    before = RowSnapshot(VIEW, ("x",), 1, 1)
    assert state.refreshed(before, FleetView(), machines, 2) == RowSnapshot(FleetView(), ("a",), 1, 2)


@pytest.mark.parametrize(("total", "pages"), [(0, 1), (1, 1), (50, 1), (51, 2), (8000, 160)])
def test_pages_hold_fifty(total: int, pages: int) -> None:
    assert state.pages(total) == pages
