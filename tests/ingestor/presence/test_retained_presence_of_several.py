"""Which of several ingestors publishes the derived presence."""

import pytest
from clocks import Clock
from several import ORGS, Several, presence_publishers, published_presence, stored_presence
from sqlalchemy import Engine

from ingestor.cluster.leases import LEASE_SECONDS


@pytest.fixture
def several(fleet: Engine, clock: Clock) -> Several:
    return Several(fleet, clock)


def test_the_owner_of_an_organisation_publishes_and_nobody_else(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(3)
    owners = {org: f"_{several.owner(org)}" for org in ORGS}
    assert len(set(owners.values())) == 2
    found = presence_publishers(monkeypatch)
    for org in ORGS:
        several.sample(org)
    several.step()
    assert sorted(found) == sorted((owner, org) for org, owner in owners.items())
    assert published_presence(several) == stored_presence(several) == dict.fromkeys(ORGS, ("online", True))


def test_after_a_take_over_the_new_owner_publishes_what_it_finds(several: Several) -> None:
    several.start("ingestor")
    several.start("ingestor-2")
    several.pass_time(3)
    for org in ORGS:
        several.sample(org)
    several.step()
    several.kill("ingestor")
    several.broker.retained.clear()
    several.pass_time(round(LEASE_SECONDS) + 5)
    assert published_presence(several) == stored_presence(several)
    assert published_presence(several).keys() == set(ORGS)
