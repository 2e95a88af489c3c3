"""Former addresses of pages."""

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.server import moved_pages


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("/alerts", "/problems"),
        ("/incidents?state=resolved", "/problems?state=resolved"),
        ("/changes", "/timeline?kinds=settings"),
        ("/changes?range=30d", "/timeline?kinds=settings&range=30d"),
    ],
)
def test_a_former_address_leads_to_the_same_list(former: str, present: str) -> None:
    with TestClient(Starlette(routes=moved_pages.routes()), follow_redirects=False) as client:
        answer = client.get(former)
    assert (answer.status_code, answer.headers["location"]) == (308, present)
