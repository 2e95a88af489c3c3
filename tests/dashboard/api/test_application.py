"""Who gets an answer from the HTTP API, what is refused, and what HTTP itself promises: tags, compression, limits."""

import asyncio
import gzip
import json
import threading
from typing import cast

import pytest
from clocks import Clock
from http_api import HttpApi, bearer
from seeding import Fleet
from sqlalchemy import Engine, delete, update

from dashboard.api.application import THREADS, ApiServices, Gate
from schemas.database import tables
from schemas.database.time_limit import limit_statements

PROBLEM = "application/problem+json"
READ = ("/machines", "/machines/a", "/machines/a/history", "/alerts", "/nowhere")


@pytest.mark.parametrize("path", READ)
def test_without_a_valid_token_nothing_is_answered(api: HttpApi, fleet: Fleet, clock: Clock, path: str) -> None:
    fleet.machine("a")
    token = api.token(name="x")
    wrong: list[dict[str, str]] = [
        {},
        bearer(""),
        bearer("x"),
        bearer(token.swapcase()),
        {"authorization": f"Basic {token}"},
    ]
    wrong.append({"cookie": f"session={token}"})
    for headers in wrong:
        answer = api.client.get(f"/api/v1{path}?token={token}", headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (401, PROBLEM), headers
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["status"] == 401
    latin = {b"authorization": f"Bearer {token[:-1]}é".encode("latin-1")}
    assert api.client.get(f"/api/v1{path}", headers=latin).status_code == 401
    clock.advance(86_400)
    assert api.client.get(f"/api/v1{path}", headers=bearer(token)).status_code == 401


def test_a_revoked_token_is_refused_at_once(api: HttpApi, fleet: Fleet) -> None:  # noqa: ARG001
    token = api.token(name="x")
    assert api.client.get("/api/v1/machines", headers=bearer(token)).status_code == 200
    api.tokens.revoke("home", "x", by="root")
    assert api.client.get("/api/v1/machines", headers=bearer(token)).status_code == 401


def test_a_token_does_not_outlive_its_organisation(api: HttpApi, fleet: Fleet, database: Engine, clock: Clock) -> None:
    token = api.token("other")
    with database.begin() as connection:
        connection.execute(delete(tables.org).where(tables.org.c.name == "other"))
    assert api.client.get("/api/v1/machines", headers=bearer(token)).status_code == 401
    fleet.org("other")
    with database.begin() as connection:
        connection.execute(update(tables.org).values(created_at=clock.now() + 1))
    assert api.client.get("/api/v1/machines", headers=bearer(token)).status_code == 401


def test_what_does_not_exist_and_what_may_not_be_done_is_a_problem(api: HttpApi, fleet: Fleet) -> None:
    fleet.machine("theirs", org="other")
    token = bearer(api.token())
    for path in (
        "/nowhere",
        "/",
        "/machines/none",
        "/machines/theirs",
        "/machines/..%2F..",
        "/machines/A/history",
        "/machines/a%0Ab%2F%0A",
        "",
    ):
        answer = api.client.get(f"/api/v1{path}", headers=token)
        assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM), path
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = api.client.request(method, "/api/v1/machines", headers=token)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
        assert answer.headers["content-type"] == PROBLEM


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e3", "limit"),
        ("limit=%201", "limit"),
        ("limit=1_0", "limit"),
        ("limit=" + "9" * 400, "limit"),
        ("limit=1&limit=2", "limit"),
        ("presence=gone", "presence"),
        ("attention=yes", "attention"),
        ("after=../x", "after"),
        ("label=nothing", "label"),
        ("search=" + "x" * 201, "search"),
        ("search=a%00b", "search"),
        ("nosuch=1", "nosuch"),
        ("&".join(["label=a=b"] * 65), "label"),
    ],
)
def test_a_parameter_out_of_bounds_is_named(api: HttpApi, fleet: Fleet, query: str, parameter: str) -> None:  # noqa: ARG001
    answer = api.client.get(f"/api/v1/machines?{query}", headers=bearer(api.token()))
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)
    assert [each["parameter"] for each in answer.json()["errors"]] == [parameter]
    assert parameter in answer.json()["detail"]


def test_an_unchanged_answer_is_not_sent_again(api: HttpApi, fleet: Fleet) -> None:
    key = fleet.machine("a")
    token = bearer(api.token())
    first = api.client.get("/api/v1/machines", headers=token)
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = api.client.get("/api/v1/machines", headers={**token, "if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    fleet.set(key, cpu_percent=99.0)
    changed = api.client.get("/api/v1/machines", headers={**token, "if-none-match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    assert "private" in changed.headers["cache-control"]


def test_an_answer_is_compressed_only_for_those_who_accept_it(api: HttpApi, fleet: Fleet) -> None:
    fleet.crowd(30)
    token = bearer(api.token())
    sizes = {}
    for accepted, coding in (("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("identity", None)):
        with api.client.stream("GET", "/api/v1/machines", headers={**token, "accept-encoding": accepted}) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers.get("content-encoding") == coding, accepted
        assert "Accept-Encoding" in answer.headers["vary"]
        plain = gzip.decompress(raw) if coding else raw
        assert len(json.loads(plain)["machines"]) == 30
        sizes[coding] = len(raw)
    assert sizes["gzip"] < sizes[None] / 5


def test_head_has_the_headers_and_no_body(api: HttpApi, fleet: Fleet) -> None:
    fleet.machine("a")
    token = bearer(api.token())
    answer = api.client.head("/api/v1/machines", headers=token)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["etag"] == api.client.get("/api/v1/machines", headers=token).headers["etag"]


def test_a_token_has_its_own_rate_limit(own_reader: Engine, accounts: Engine, fleet: Fleet, clock: Clock) -> None:  # noqa: ARG001
    api = HttpApi.over(own_reader, accounts, clock, per_minute=3)
    token, other = bearer(api.token()), bearer(api.token())
    statuses = [api.client.get("/api/v1/machines", headers=token).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = api.client.get("/api/v1/alerts", headers=token)
    assert (refused.headers["content-type"], refused.headers["retry-after"]) == (PROBLEM, "20")
    assert api.client.get("/api/v1/machines", headers=other).status_code == 200
    clock.advance(20)
    assert api.client.get("/api/v1/machines", headers=token).status_code == 200
    assert api.client.get("/api/v1/machines", headers=token).status_code == 429


def test_an_organisation_that_asks_for_much_does_not_keep_others_waiting() -> None:
    async def scenario() -> None:
        gate, release = Gate(cast("ApiServices", None)), threading.Event()
        slow = [asyncio.ensure_future(gate.call("greedy", lambda: release.wait(60))) for _ in range(3 * THREADS)]
        await asyncio.sleep(0)
        try:
            assert await asyncio.wait_for(gate.call("modest", lambda: "answer"), 30) == "answer"
            assert not any(each.done() for each in slow)
        finally:
            release.set()
        assert all(await asyncio.gather(*slow))

    asyncio.run(scenario())


def test_a_query_that_takes_too_long_is_a_problem_that_says_what_to_do(
    own_reader: Engine, accounts: Engine, fleet: Fleet, clock: Clock
) -> None:
    fleet.crowd(300)
    api = HttpApi.over(limit_statements(own_reader, 0.0), accounts, clock)
    answer = api.client.get("/api/v1/machines", headers=bearer(api.token()))
    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
    assert "time limit" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "5"


def test_no_other_site_may_read_an_answer(api: HttpApi, fleet: Fleet) -> None:  # noqa: ARG001
    answer = api.client.get("/api/v1/machines", headers={**bearer(api.token()), "origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
