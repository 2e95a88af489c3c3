"""`dashfleet move`, and the destination as the argument of `dashfleet act move`."""

import json
from pathlib import Path

import pytest
from certificates import certificates
from ingestion import Bench, Speaker
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

import dashfleet
from agent.actions.move import move
from ingestor.admin.key_changes import add_key
from runtime.clock import SystemClock
from runtime.settings.agent import AgentSettings
from schemas.contract.signing import new_key, public_key
from schemas.relocation.destination import MoveDestination

RUNNER = CliRunner()


def run(data: Path, fleet: Engine, *words: str) -> Result:
    url = fleet.url.render_as_string(hide_password=False)
    return RUNNER.invoke(dashfleet.application(), [*words, "--data", str(data), "--database", url])


def test_machines_are_exported_and_imported_and_the_destination_has_everything(tmp_path: Path, fleet: Engine) -> None:
    seed = new_key()
    add_key(fleet, "home", seed, signer=None, name="first", expires_at=None, now=SystemClock().now)
    files = certificates(tmp_path / "tls", "fleet.example.org")
    (tmp_path / "machines.json").write_text(run(tmp_path, fleet, "move", "export", "--all").stdout)

    done = run(
        tmp_path,
        fleet,
        *("move", "import", str(tmp_path / "machines.json"), "--server", "mqtts://fleet.example.org:8883"),
    )

    destination = MoveDestination.read(done.stdout)
    assert (destination.server, destination.org) == ("mqtts://fleet.example.org:8883", "home")
    assert destination.ca == files.authority.read_text()
    assert [key.public_key for key in destination.keys] == [public_key(seed)]
    assert "0 machines are new here, 1 were accepted before" in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("export",), "name the machines to export, or use --all"),
        (("export", "attic", "--all"), "name the machines to export, or use --all"),
        (("import", "nothing.json"), "cannot read nothing.json: No such file or directory"),
        (("import", __file__), "it is not a file of dashfleet move export (JSON is wrong)"),
    ],
)
def test_what_cannot_be_moved_is_one_sentence(
    tmp_path: Path, fleet: Engine, words: tuple[str, ...], sentence: str
) -> None:
    error = run(tmp_path, fleet, "move", *words).exception

    assert sentence in str(error)


def test_the_address_must_be_known(tmp_path: Path, fleet: Engine) -> None:
    seed = new_key()
    add_key(fleet, "home", seed, signer=None, name="first", expires_at=None, now=SystemClock().now)
    (tmp_path / "machines.json").write_text(run(tmp_path, fleet, "move", "export", "attic").stdout)
    words = ("move", "import", str(tmp_path / "machines.json"))

    assert "name it with --server mqtts://HOST:PORT" in str(run(tmp_path, fleet, *words).exception)
    assert "must look like mqtts://HOST:PORT" in str(run(tmp_path, fleet, *words, "--server", "https://x").exception)


def test_an_argument_is_read_from_a_file(tmp_path: Path, bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    offer = move.description(AgentSettings(data=tmp_path, machine="attic"))
    bench.publish(speaker.status(), speaker.info(actions=[offer.model_dump()]))
    bench.step(1, steps=3)
    (tmp_path / "destination.json").write_text('{"server": "mqtts://new.example"}\n')
    file = f"destination={tmp_path / 'destination.json'}"

    planned = run(tmp_path, fleet, "act", "move", "attic", "--file", file, "--dry-run", "--json")

    (row,) = json.loads(planned.stdout)
    assert row["arguments"] == {"destination": '{"server": "mqtts://new.example"}'}
    twice = run(tmp_path, fleet, "act", "move", "attic", "destination=x", "--file", file, "--dry-run")
    assert "argument destination is given twice" in str(twice.exception)
    missing = run(tmp_path, fleet, "act", "move", "attic", "--file", "destination=none.json", "--dry-run")
    assert "cannot read none.json: No such file or directory" in str(missing.exception)
