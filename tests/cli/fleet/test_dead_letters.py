"""`dashfleet dead-letters` on a fleet with rejected messages."""

import json

from ingestion import Bench
from sqlalchemy import Engine
from typer.testing import CliRunner

import dashfleet
from broker.client.transport import Message
from schemas.contract import topics

RUNNER = CliRunner()


def url(fleet: Engine) -> list[str]:
    return ["--database", fleet.url.render_as_string(hide_password=False)]


def test_rejected_messages_are_listed_shown_and_cleared(bench: Bench, fleet: Engine) -> None:
    name = topics.TELEMETRY.at(org="home", machine="attic")
    bench.publish(Message(name, b'{"v": 1, "\x1b"'), Message(topics.INFO.at(org="office", machine="attic"), b"{"))
    bench.step()
    listed = RUNNER.invoke(dashfleet.application(), ["dead-letters", "list", "--json", *url(fleet)])
    newest, oldest = json.loads(listed.stdout)
    assert {name: oldest[name] for name in ("org", "machine", "topic", "reason")} == {
        "org": "home", "machine": "attic", "topic": name, "reason": "not-json",
    }  # fmt: skip
    assert oldest["detail"]
    assert oldest["at"] == bench.clock.now()
    assert newest["org"] == "office"
    shown = RUNNER.invoke(dashfleet.application(), ["dead-letters", "show", str(oldest["id"]), *url(fleet)])
    assert '{"v": 1, "' in shown.stdout
    assert "\x1b" not in shown.stdout
    assert (
        RUNNER.invoke(dashfleet.application(), ["dead-letters", "clear", "--org", "home", *url(fleet)]).exit_code == 0
    )
    left = RUNNER.invoke(dashfleet.application(), ["dead-letters", "list", "--json", *url(fleet)])
    assert [letter["org"] for letter in json.loads(left.stdout)] == ["office"]
