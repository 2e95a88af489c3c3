"""The hourly line about what the agent has counted."""

import logging
from collections import Counter

import pytest
from clocks import Clock

from agent.activity_log import INTERVAL_SECONDS, ActivityLog


def test_what_was_counted_since_the_last_line_is_logged_once_an_hour(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    counts: Counter[str] = Counter()
    activity = ActivityLog(lambda: counts.copy(), clock)
    with caplog.at_level(logging.INFO):
        counts["failures of disk"] += 3
        activity.step()
        assert caplog.messages == []
        clock.advance(INTERVAL_SECONDS)
        activity.step()
        counts["failures of disk"] += 1
        counts["orders started"] += 2
        clock.advance(INTERVAL_SECONDS)
        activity.step()
        clock.advance(INTERVAL_SECONDS)
        activity.step()
    assert caplog.messages == [
        "in the last 60 min: failures of disk: 3",
        "in the last 60 min: failures of disk: 1, orders started: 2",
    ]
