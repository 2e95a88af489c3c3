"""Samples that are dated far ahead, as stored before they were rejected: nothing is exempt from retention."""

import pytest
from rollups import START, Keeper, arrived, count, tend
from sqlalchemy import Engine

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_org, add_principal
from ingestor.domain.batch import Arrived
from ingestor.domain.machine import Machine, Stream
from schemas.contract.messages import Sample, Vitals
from schemas.fleet.history import DAY, MINUTE

FAR = 2**53 - 2


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def keeper(database: Engine) -> Keeper:
    add_org(database, "home", now=lambda: 0)
    add_principal(database, Principal(Role.MACHINE, "home", "attic"), "made-up", now=lambda: 0)
    return Keeper(database)


def dated(at: int, *, received_at: int, seq: int) -> Arrived:
    return Arrived(
        Machine(1, "home", "attic"),
        Stream("a", 1, created_at=0),
        Sample(seq=seq, sampled_at=at, vitals=Vitals(cpu_percent=1.0)),
        received_at,
        0,
    )


def test_samples_of_the_far_future_and_their_marks_do_not_stay_for_ever(keeper: Keeper) -> None:
    keeper.write(*(dated(FAR - i * MINUTE, received_at=START, seq=i + 1) for i in range(1200)))
    keeper.write(arrived(1, START, 2000))
    tend(keeper)
    assert [count(keeper, name) for name in ("sample", "minute", "hour", "dirty")] == [1, 1, 1, 0]


def test_a_server_whose_clock_was_set_back_deletes_nothing(keeper: Keeper) -> None:
    keeper.write(*(arrived(1, START + i * MINUTE, i + 1) for i in range(10)))
    keeper.now = DAY
    tend(keeper)
    assert count(keeper, "sample") == 10
    keeper.now = START
    tend(keeper)
    assert [count(keeper, name) for name in ("sample", "minute", "dirty")] == [10, 10, 0]
