"""The action `update`: what is refused, and what a new version costs when it cannot be fetched or built."""

import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from agent_under_test import AgentUnderTest
from clocks import Clock
from waiting import wait_until

from agent.actions import update as update_action
from agent.connection_record import ConnectionRecord
from agent.installation import environment
from agent.updates.layout import Layout
from agent.updates.update_record import UpdateRecord, read_update
from runtime.bundle.manifest import BundleFile, Manifest
from runtime.errors import UserError
from runtime.version import VERSION
from schemas.contract import topics
from schemas.contract.commands import Result
from schemas.contract.files.transfer import Chunk, Fetch
from schemas.contract.messages import Signed
from schemas.fleet.release import is_older

FILES = {name: name.encode() * 100 for name in ("agent.whl", "pip.whl", "requirements.txt")}
_AGENT, _PIP, _REQUIREMENTS = (BundleFile.of(name, content) for name, content in FILES.items())
NEW = Manifest("0.3.0", _AGENT, _PIP, _REQUIREMENTS)


class Site:
    """A machine with an installation that updates are allowed to change, and a server that has a bundle."""

    def __init__(self, directory: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        (directory / "agent").mkdir()
        self.machine = AgentUnderTest(directory, clock)
        self.prefix = directory / "opt"
        self.here = self.prefix / environment.ENVIRONMENTS / f"{VERSION}-old"
        self.here.mkdir(parents=True)
        environment.switch(self.prefix, self.here)
        self.served = 0
        self.built: dict[str, bytes] = {}
        self.files = {hashlib.sha256(each).hexdigest(): each for each in (*FILES.values(), NEW.encode())}
        self.layout: Layout | UserError = Layout(self.prefix, self.here)
        monkeypatch.setattr(update_action, "find_layout", self._find_layout)
        self.starts = True
        monkeypatch.setattr(environment, "build", self._build)
        monkeypatch.setattr(environment, "is_complete", lambda place: place.is_dir() and self.starts)

    def order(self, version: str = "0.3.0", manifest: Manifest = NEW, *, sha256: str | None = None) -> Signed:
        found = sha256 or hashlib.sha256(manifest.encode()).hexdigest()
        return self.machine.operator.order("update", arguments={"version": version, "sha256": found})

    def send(self, order: Signed) -> Result:
        """Return the first result that is not `running`, or `running` if the trial has begun."""
        self.machine.send(order)

        def found() -> list[Result]:
            self.serve()
            results = [each for each in self.machine.results() if each.state != "running"]
            return results or (self.machine.results() if self.machine.agent.restarting else [])

        return wait_until(found, seconds=30, what="the outcome")[-1]

    def forget(self) -> None:
        """Forget what the machine has published."""
        self.machine.heard.clear()
        self.served = 0

    def begins_the_trial(self) -> bool:
        self.serve()
        return self.machine.agent.restarting

    def serve(self) -> None:
        """Let the agent do a step, and answer its requests for files."""
        self.machine.clock.advance(0.01)
        self.machine.step()
        requests = self.machine._heard(topics.FETCH)
        for message in requests[self.served :]:
            fetch = Fetch.decode(message.payload)
            content = self.files.get(fetch.sha256)
            if content is None:
                refused = Chunk(sha256=fetch.sha256, refused="unknown", detail="the server has no such file")
                self.machine.publish(topics.CHUNK, refused.encode())
            else:
                part = content[fetch.offset : fetch.offset + fetch.length]
                answer = Chunk.encode_part(fetch.sha256, fetch.offset, len(content), part)
                self.machine.publish(topics.CHUNK, answer)
        self.served = len(requests)

    def _find_layout(self) -> Layout:
        if isinstance(self.layout, UserError):
            raise self.layout
        return self.layout

    def _build(self, place: Path, manifest: Manifest, fetch: object) -> None:
        place.mkdir(parents=True, exist_ok=True)
        for file in manifest.files:
            path = fetch(file, place)  # type: ignore[operator]
            self.built[file.name] = path.read_bytes()


@pytest.fixture
def site(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, clock, monkeypatch)


def test_a_signed_order_fetches_the_files_builds_beside_the_old_environment_and_begins_the_trial(site: Site) -> None:
    result = site.send(site.order())
    assert result.state == "running"
    assert site.built == FILES
    assert environment.current(site.prefix) == site.here
    record = read_update(site.machine.directory)
    assert record is not None
    assert (record.state, record.before, record.version) == ("trying", VERSION, "0.3.0")
    assert record.environment == str(site.prefix / "environments" / NEW.environment)


def test_only_environments_that_nobody_starts_any_more_are_removed(site: Site) -> None:
    environments = site.prefix / environment.ENVIRONMENTS
    for name in ("earlier", "just-installed"):
        (environments / name).mkdir()
    environment.switch(site.prefix, environments / "just-installed")
    site.send(site.order())
    assert {each.name for each in environments.iterdir()} == {site.here.name, "just-installed", NEW.environment}


def test_an_environment_whose_python_does_not_start_is_not_tried(site: Site) -> None:
    site.starts = False
    result = site.send(site.order())
    assert (result.reason, result.detail) == ("not-built", "the Python of the new environment does not start")
    assert read_update(site.machine.directory) is None


def test_the_trial_may_take_longer_on_a_machine_on_which_the_last_acknowledgement_took_long(
    site: Site, clock: Clock
) -> None:
    connection = ConnectionRecord(site.machine.directory, clock, first_seq=1)
    connection.update(connected=True, acknowledged_seq=0)
    clock.advance(30)
    connection.update(connected=True, acknowledged_seq=1)
    site.send(site.order())
    record = read_update(site.machine.directory)
    assert record is not None
    assert 120.0 <= record.trial_seconds < 180.0


def test_the_next_process_reports_what_came_of_it(site: Site) -> None:
    for state, expected in (("rolled-back", "failed"), ("committed", "succeeded")):
        order = site.order()
        site.machine.send(order)
        wait_until(site.begins_the_trial, seconds=30, what="the trial")
        record = read_update(site.machine.directory)
        assert record is not None
        site.machine.stop()
        given_up = record.gave_up("it ended with exit code 3")
        (given_up if state == "rolled-back" else replace(record, state="committed")).write(site.machine.directory)
        site.machine.start()
        result = site.machine.final(order)
        assert result.state == expected
        if state == "rolled-back":
            assert result.reason == "rolled-back"
            assert result.detail == f"it ended with exit code 3; version {VERSION} runs again"


def test_an_agent_that_died_before_the_trial_reports_that_nothing_was_changed(site: Site) -> None:
    site.files = {}
    order = site.order()
    site.machine.send(order)
    site.machine.kill()
    site.machine.start()
    result = site.machine.final(order)
    assert (result.state, result.reason) == ("failed", "interrupted")


@pytest.mark.parametrize(
    ("version", "detail"),
    [
        ("0.1.9", f"0.1.9 is older than {VERSION}, which runs here: nothing is downgraded"),
        ("0.2.0rc1", f"0.2.0rc1 is older than {VERSION}, which runs here: nothing is downgraded"),
        ("../../x", "version: String should match pattern"),
    ],
)
def test_an_older_version_and_what_is_no_version_are_rejected(site: Site, version: str, detail: str) -> None:
    result = site.send(site.order(version))
    assert result.state == "rejected"
    assert result.detail.startswith(detail)
    assert not site.built


def test_a_replayed_order_and_one_that_was_issued_before_the_last_one_install_nothing(site: Site, clock: Clock) -> None:
    early = site.order("0.2.1")
    clock.advance(1)
    UpdateRecord("f" * 32, clock.now(), "0.2.0", "0.3.0", "/x", "committed").write(site.machine.directory)
    result = site.send(early)
    assert (result.state, result.reason) == ("failed", "superseded")
    site.forget()
    site.machine.send(early)
    assert [each.state for each in site.machine.results()] == ["failed"]
    assert not site.built


def test_an_installation_that_is_not_ours_refuses_with_its_reason(site: Site) -> None:
    site.layout = UserError("this agent runs in a container: replace its image instead")
    result = site.send(site.order())
    assert (result.state, result.detail) == ("rejected", "this agent runs in a container: replace its image instead")


def test_a_bundle_of_another_version_or_that_the_server_does_not_have_changes_nothing(site: Site) -> None:
    result = site.send(site.order("0.4.0"))
    assert (result.reason, result.detail) == ("not-built", "the bundle has version 0.3.0, the order says 0.4.0")
    site.forget()
    result = site.send(site.order(sha256="0" * 64))
    assert (result.reason, result.detail) == ("not-fetched", "the server has no such file")
    assert environment.current(site.prefix) == site.here
    assert not site.machine.agent.restarting


def test_what_earlier_updates_left_is_removed(site: Site) -> None:
    left = site.here.parent / "0.2.1-left"
    left.mkdir()
    site.send(site.order())
    assert not left.exists()
    assert site.here.exists()


def test_versions_are_compared_as_python_does() -> None:
    ordered = [
        "0.2.0.dev1",
        "0.2.0a1.dev2",
        "0.2.0a1",
        "0.2.0b1",
        "0.2.0rc1",
        "0.2.0rc2",
        "0.2.0",
        "0.2.1",
        "0.10",
        "1.0",
    ]
    for earlier, later in pairwise(ordered):
        assert is_older(earlier, later)
        assert not is_older(later, earlier)
    assert not is_older("0.2", "0.2.0")
    assert not is_older("0.2.0", "0.2")
