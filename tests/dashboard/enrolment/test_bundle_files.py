"""The files that machines install from: served without a session, by hash, within a rate."""

from pathlib import Path

import pytest
from clocks import Clock
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.auth.middleware import BUNDLE, INSTALL_SCRIPTS, _is_public
from dashboard.enrolment import request_rate
from dashboard.enrolment.bundle_files import BundleFiles
from dashboard.enrolment.request_rate import RequestRate
from runtime.bundle import agent_wheel, builder
from runtime.bundle.manifest import Manifest
from runtime.errors import UserError


@pytest.fixture
def client(tmp_path: Path, clock: Clock) -> TestClient:
    (tmp_path / "ca.pem").write_text("the certificate")
    files = BundleFiles(tmp_path / "bundle", tmp_path / "ca.pem", clock)
    return TestClient(Starlette(routes=files.routes()))


def test_the_first_request_builds_the_bundle_and_its_files_are_at_their_hashes(client: TestClient) -> None:
    script = client.get("/install.sh")
    assert script.status_code == 200
    assert script.text.startswith("#!/bin/sh")
    manifest = Manifest.decode(client.get("/bundle/manifest.json").content)
    assert manifest.agent.path in script.text
    wheel = client.get(f"/bundle/{manifest.agent.path}")
    assert wheel.content == agent_wheel.build(agent_wheel.read_requirements())
    assert "immutable" in wheel.headers["cache-control"]
    assert client.get("/install.ps1").status_code == 200
    assert client.get("/bundle/ca.pem").text == "the certificate"


@pytest.mark.parametrize(
    "path", ["/bundle/", "/bundle/x/y", "/bundle/install.sh", "/bundle/..%2Fca.pem/x", "/bundle/%2e%2e/ca.pem"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_what_machines_install_from_needs_no_session_and_nothing_beside_it(client: TestClient) -> None:
    assert all(map(_is_public, (*INSTALL_SCRIPTS, f"{BUNDLE}manifest.json")))
    assert not any(map(_is_public, ("/bundle", "/install", "/bundle/../machine", "/bundles/x")))
    assert client.post("/install.sh").status_code == 405


def test_a_bundle_that_was_replaced_is_served_without_a_restart(client: TestClient, tmp_path: Path) -> None:
    client.get("/install.sh")
    before = builder.read(tmp_path / "bundle")
    assert before is not None
    other = Manifest("9.9", before.agent, before.pip, before.requirements)
    (tmp_path / "bundle" / "manifest.json").write_bytes(other.encode())
    assert Manifest.decode(client.get("/bundle/manifest.json").content).version == "9.9"
    assert client.get(f"/bundle/{other.agent.path}").status_code == 200


def test_a_server_without_a_bundle_says_so_and_its_log_says_why(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_directory: Path) -> Manifest:
        raise UserError("the disk is full")

    monkeypatch.setattr(builder, "ensure", fail)
    answer = client.get("/install.sh")
    assert (answer.status_code, "the disk is full" in answer.text) == (503, False)
    assert "the disk is full" in caplog.text


def test_an_address_with_too_many_requests_is_told_when_to_come_back(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_rate, "BURST", 2)
    assert [client.get("/bundle/ca.pem").status_code for _ in range(3)] == [200, 200, 429]
    assert client.get("/bundle/ca.pem").headers["retry-after"] == "1"


def test_requests_are_counted_by_address_and_recover(clock: Clock) -> None:
    rate = RequestRate(clock)
    assert not any(rate.admit("2001:db8::1") for _ in range(request_rate.BURST))
    assert rate.admit("2001:db8::2") == 1  # the same network
    assert rate.admit("2001:db9::1") == 0
    assert rate.admit("10.0.0.1") == 0
    clock.advance(1.0)
    assert not any(rate.admit("2001:db8::1") for _ in range(int(request_rate.PER_SECOND)))
    assert rate.admit("2001:db8::1") == 1


def test_many_addresses_use_a_bounded_memory(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_rate, "ADDRESSES_MAX", 100)
    rate = RequestRate(clock)
    for number in range(1000):
        rate.admit(f"10.0.{number // 250}.{number % 250}")
    assert len(rate._buckets) == 100
