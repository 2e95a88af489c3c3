"""The configuration that a machine should have: what a `configure` leaves behind."""

from collections.abc import Callable

import pytest
from acting import Ears, Operator, order_of, result
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select

from schemas.contract import topics
from schemas.contract.commands import Desired
from schemas.contract.messages import Signed
from schemas.database import tables


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def operator(clock: Clock) -> Operator:
    return Operator(clock)


def configure(bench: Bench, operator: Operator, *, succeeds: bool = True) -> Signed:
    order = operator.order("configure", arguments={"interval_seconds": 5})
    bench.publish(operator.act(order))
    bench.step()
    bench.publish(result(order_of(order).id, "succeeded" if succeeds else "failed", bench.clock))
    bench.step(1)
    return order


def stored(fleet: Engine) -> tuple[int, Desired | None]:
    query = select(tables.machine.c.desired_version, tables.machine.c.desired).join(tables.org)
    with fleet.connect() as connection:
        row = connection.execute(query.where(tables.org.c.name == "home")).one()
    return row.desired_version, None if row.desired is None else Desired.model_validate(row.desired)


def test_a_configure_that_succeeded_is_stored_and_published_retained(
    bench: Bench, speaker: Speaker, operator: Operator, fleet: Engine
) -> None:
    ears = Ears(bench.broker)
    bench.publish(speaker.status())
    bench.step()
    order = configure(bench, operator)
    wished = Desired(version=1, order=order)
    assert stored(fleet) == (1, wished)
    assert ears.configs() == [wished]
    retained = bench.broker.retained[topics.CONFIG.at(org="home", machine="attic")]
    assert Desired.decode(retained.payload) == wished


def test_one_that_failed_leaves_nothing_and_the_next_one_has_the_next_version(
    bench: Bench, speaker: Speaker, operator: Operator, fleet: Engine
) -> None:
    bench.publish(speaker.status())
    bench.step()
    configure(bench, operator, succeeds=False)
    assert stored(fleet) == (0, None)
    configure(bench, operator)
    newest = configure(bench, operator)
    assert stored(fleet) == (2, Desired(version=2, order=newest))


def test_an_older_one_that_succeeds_late_does_not_come_back(
    bench: Bench, speaker: Speaker, operator: Operator, fleet: Engine
) -> None:
    bench.publish(speaker.status())
    bench.step()
    older = operator.order("configure", arguments={"interval_seconds": 60})
    bench.publish(operator.act(older))
    bench.step(1)
    newer = configure(bench, operator)
    bench.publish(result(order_of(older).id, "succeeded", bench.clock))
    bench.step()
    assert stored(fleet) == (1, Desired(version=1, order=newer))


def test_a_machine_that_announces_itself_with_an_older_one_gets_it_again_also_from_a_restarted_ingestor(
    make_bench: Callable[[], Bench], speaker: Speaker, operator: Operator
) -> None:
    first = make_bench()
    first.publish(speaker.status())
    first.step()
    configure(first, operator)
    second = make_bench()
    ears = Ears(second.broker)
    assert ears.configs() == []
    second.publish(speaker.info(config_version=0))
    second.step()
    assert [desired.version for desired in ears.configs()] == [1]
    second.publish(speaker.info(config_version=1))
    second.step()
    assert ears.configs() == []
