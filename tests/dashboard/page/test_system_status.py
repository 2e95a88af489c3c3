"""Banners about the system for its visitors."""

from datetime import UTC
from unittest.mock import Mock

import pytest
from clocks import Clock
from sqlalchemy import Engine

from dashboard.auth.users import UserRole
from dashboard.page import system_status
from dashboard.page.page import PageContext

DAY = 86_400_000


@pytest.mark.parametrize(
    ("role", "days", "words"),
    [
        (UserRole.ADMIN, 29, "expires on"),
        (UserRole.ADMIN, -1, "expired on"),
        (UserRole.ADMIN, 31, ""),
        (UserRole.OPERATOR, 29, ""),
        (UserRole.ADMIN, None, ""),
    ],
)
def test_admins_are_told_a_month_before_the_end_of_the_brokers_certificate(
    reader: Engine, role: UserRole, days: int | None, words: str
) -> None:
    clock = Clock()
    end = None if days is None else clock.now() + days * DAY
    publisher = Mock(certificate_end=end)
    context = PageContext(reader, clock, "home", "ada", role, UTC, 5.0, publisher=publisher)
    shown = system_status.certificate(context)
    assert words in shown
    assert bool(shown) is bool(words)
    assert not shown or "dashfleet tls --renew" in shown
