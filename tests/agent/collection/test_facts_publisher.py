"""Facts are published when they change, within their bounds, and cleared when they end."""

from pathlib import Path

from clocks import Clock

from agent.collection.facts_publisher import FACTS_SECONDS, FactsPublisher, encoded
from agent.collector import Item
from schemas.contract.facts import FACT_ITEMS_MAX, FACT_KINDS_MAX, FACTS_MAX_BYTES, FactsMessage

DISKS = {"sda": Item({"model": "WD Red", "failed": False}, "good")}


class Wire:
    """Publishes for a machine, and records what was published."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.publisher = FactsPublisher(path, clock)
        self.clock = clock
        self.sent: list[tuple[str, bytes]] = []
        self.works = True

    def step(self, pending: set[str] | None = None, **lists: dict[str, Item]) -> list[str]:
        """Return the kinds that were published; `-` stands before those that were cleared."""
        before = len(self.sent)
        timed = {kind: (items, self.clock.now()) for kind, items in lists.items()}
        self.publisher.step(timed, pending or set(), 7, self._publish)
        return [kind if payload else f"-{kind}" for kind, payload in self.sent[before:]]

    def _publish(self, kind: str, payload: bytes) -> bool:
        if self.works:
            self.sent.append((kind, payload))
        return self.works


def test_a_list_is_published_once_and_again_when_it_changes(clock: Clock, tmp_path: Path) -> None:
    wire = Wire(tmp_path / "facts.json", clock)
    assert wire.step(disks=DISKS) == ["disks"]
    message = FactsMessage.decode(wire.sent[0][1])
    assert (message.session, message.at, message.truncated) == (7, clock.now(), 0)
    assert (message.items["sda"].health, message.items["sda"].fields) == ("good", {"model": "WD Red", "failed": False})

    clock.advance(FACTS_SECONDS)
    assert wire.step(disks=dict(DISKS)) == []
    assert wire.step(disks={}) == ["disks"]
    assert FactsMessage.decode(wire.sent[1][1]).items == {}


def test_a_list_is_later_than_the_one_before_although_the_clock_was_set_back(clock: Clock, tmp_path: Path) -> None:
    wire = Wire(tmp_path / "facts.json", clock)
    wire.step(disks=DISKS)
    clock.advance(FACTS_SECONDS)
    clock.set_by(-3600)
    assert wire.step(disks={}) == ["disks"]
    first, second = (FactsMessage.decode(payload).at for _, payload in wire.sent)
    assert second > first


def test_a_list_that_changes_all_the_time_is_published_at_a_bounded_rate(clock: Clock, tmp_path: Path) -> None:
    wire = Wire(tmp_path / "facts.json", clock)
    published = 0
    for number in range(300):
        published += len(wire.step(disks={"sda": Item({"number": number})}))
        wire.publisher.connected()
        clock.advance(1)

    assert published == 300 / FACTS_SECONDS


def test_after_a_connect_all_lists_are_published_again(clock: Clock, tmp_path: Path) -> None:
    wire = Wire(tmp_path / "facts.json", clock)
    wire.step(disks=DISKS, mounts={})
    clock.advance(FACTS_SECONDS)
    wire.publisher.connected()

    assert wire.step(disks=DISKS, mounts={}) == ["disks", "mounts"]


def test_a_message_that_could_not_be_sent_is_tried_again(clock: Clock, tmp_path: Path) -> None:
    wire = Wire(tmp_path / "facts.json", clock)
    wire.works = False
    assert wire.step(disks=DISKS) == []
    wire.works = True
    assert wire.step(disks=DISKS) == ["disks"]
    wire.works = False
    assert wire.step() == []
    wire.works = True
    assert wire.step() == ["-disks"]
    assert wire.step() == []


def test_the_next_process_clears_what_no_collector_states_any_more_once_that_is_known(
    clock: Clock, tmp_path: Path
) -> None:
    Wire(tmp_path / "facts.json", clock).step(disks=DISKS, mounts={}, fans={})
    wire = Wire(tmp_path / "facts.json", clock)

    assert wire.step(pending={"disks", "mounts"}) == ["-fans"]
    assert wire.step(pending={"mounts"}, disks=DISKS) == ["disks"]
    assert wire.step(disks=DISKS) == ["-mounts"]
    assert Wire(tmp_path / "facts.json", clock).step() == ["-disks"]


def test_a_damaged_or_unwritable_file_costs_only_what_it_remembers(clock: Clock, tmp_path: Path) -> None:
    for content in ("", "{", "7", '{"a": 1}', '["NOT a kind", 7]'):
        (tmp_path / "facts.json").write_text(content)
        assert Wire(tmp_path / "facts.json", clock).step(disks=DISKS) == ["disks"]
    assert Wire(tmp_path / "missing" / "facts.json", clock).step(disks=DISKS) == ["disks"]


def test_a_long_list_is_cut_at_the_bounds_and_says_so() -> None:
    many = {f"unit-{i}": Item({"state": "failed", "title": "x" * 200}) for i in range(FACT_ITEMS_MAX + 100)}

    payload = encoded(many, session=1, at=2)

    message = FactsMessage.decode(payload)
    assert FACTS_MAX_BYTES * 0.9 < len(payload) <= FACTS_MAX_BYTES
    assert list(message.items) == list(many)[: len(message.items)]
    assert message.truncated == len(many) - len(message.items)


def test_hostile_items_are_made_valid_or_left_out() -> None:
    items = {
        "\udcff\x00": Item({"title": "\x1b[31m" + "x" * 999, **{f"field_{i}": i for i in range(30)}}),
        "bad name": Item({"Not A Name": 1}),
        "bad value": Item({"value": float("nan")}),
        "k" * 999: Item({}),
    }

    message = FactsMessage.decode(encoded(items, session=1, at=2))

    assert list(message.items) == ["\ufffd\ufffd", "k" * 200]
    assert len(message.items["\ufffd\ufffd"].fields) == 16
    assert message.truncated == 2


def test_a_machine_has_a_bounded_number_of_kinds(clock: Clock, tmp_path: Path) -> None:
    lists: dict[str, dict[str, Item]] = {f"kind-{i:02}": {} for i in range(FACT_KINDS_MAX + 5)}

    assert len(Wire(tmp_path / "facts.json", clock).step(set(), **lists, **{"Not A Kind": {}})) == FACT_KINDS_MAX
