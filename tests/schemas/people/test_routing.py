"""Preferences of destinations, which the notifier reads every second."""

import pytest
from pydantic import ValidationError

from schemas.people import routing
from schemas.people.routing import Preferences


def test_the_directories_of_time_zones_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def zones() -> set[str]:
        read.append(1)
        return {"UTC", "Europe/Paris"}

    routing._zones.cache_clear()
    monkeypatch.setattr(routing, "available_timezones", zones)
    for _ in range(10):
        assert Preferences(zone="Europe/Paris").zone == "Europe/Paris"
        with pytest.raises(ValidationError, match="no time zone 'Europe/Nowhere'"):
            Preferences(zone="Europe/Nowhere")
    assert len(read) == 1
    monkeypatch.undo()
    routing._zones.cache_clear()
