"""How much one client, and one organisation, may send."""

from clocks import Clock

from ingestor.intake.rate_limits import IDLE_MAX, MACHINE, ORG, Rate, RateLimits

FEW = Rate(messages=10, bytes=1000)
MORE = Rate(messages=25, bytes=2500)


def limits(clock: Clock) -> RateLimits:
    return RateLimits(clock, machine=FEW, org=MORE)


def admitted(mine: RateLimits, org: str, name: str, count: int, size: int = 1) -> int:
    return sum(mine.admit(org, name, size) for _ in range(count))


def test_a_minutes_worth_may_come_at_once_and_no_more(clock: Clock) -> None:
    assert admitted(limits(clock), "acme", "attic", 50) == 10


def test_there_is_room_again_as_time_passes(clock: Clock) -> None:
    mine = limits(clock)
    admitted(mine, "acme", "attic", 50)
    clock.advance(12)
    assert admitted(mine, "acme", "attic", 50) == 2
    clock.advance(3600)
    assert admitted(mine, "acme", "attic", 50) == 10


def test_bytes_count_as_well(clock: Clock) -> None:
    assert admitted(limits(clock), "acme", "attic", 50, size=300) == 3


def test_a_message_larger_than_a_minutes_worth_passes_when_nothing_else_did(clock: Clock) -> None:
    mine = limits(clock)
    assert mine.admit("acme", "attic", 5000)
    assert not mine.admit("acme", "attic", 1)


def test_a_noisy_machine_costs_the_others_nothing(clock: Clock) -> None:
    mine = limits(clock)
    assert admitted(mine, "acme", "noisy", 100_000) == 10
    assert admitted(mine, "acme", "quiet", 10) == 10


def test_a_noisy_organisation_costs_the_others_nothing(clock: Clock) -> None:
    mine = limits(clock)
    assert sum(admitted(mine, "noisy", f"m{number}", 10) for number in range(100)) == 25
    assert admitted(mine, "quiet", "attic", 10) == 10


def test_what_is_dropped_is_counted_once_by_whose_limit_it_was(clock: Clock) -> None:
    mine = limits(clock)
    for name, count in (("a", 15), ("b", 10), ("c", 10)):
        admitted(mine, "acme", name, count)
    assert mine.dropped() == {("acme", "a"): 5, ("acme", ""): 5}
    assert not mine.dropped()


def test_a_clock_that_steps_back_costs_nothing(clock: Clock) -> None:
    mine = limits(clock)
    mine.admit("acme", "attic", 1)
    clock.advance(-86_400)
    assert admitted(mine, "acme", "attic", 50) == 9


def test_who_is_idle_is_forgotten_once_there_are_too_many(clock: Clock) -> None:
    mine = RateLimits(clock)
    for number in range(IDLE_MAX + 1):
        mine.admit("acme", f"m{number}", 1)
    clock.advance(61)
    mine.admit("acme", "attic", 1)
    mine.dropped()
    assert set(mine._buckets) == {("acme", "attic"), ("acme", "")}


def test_a_healthy_machine_that_was_away_for_a_day_is_within_the_limits(clock: Clock) -> None:
    """A sample a second for a day, in batches of the size that the embedded broker lets through, all at once."""
    batches, size = 86_400 // 500 + 1, 128 << 10
    assert admitted(RateLimits(clock), "acme", "attic", batches, size) == batches
    assert MACHINE.messages >= 2 * 60 / 0.05, "the shortest interval there is"


def test_a_fleet_of_five_thousand_that_comes_back_at_once_is_within_the_limits(clock: Clock) -> None:
    mine = RateLimits(clock)
    assert sum(admitted(mine, "acme", f"m{number}", 20, size=2000) for number in range(5000)) == 100_000 <= ORG.messages
