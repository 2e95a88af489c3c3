"""`dashfleet files`, and the file that `dashfleet act push` names: offered, listed, copied and deleted."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

import dashfleet
from cli.act.own_files import complete
from cli.act.plan import ActWords
from ingestor.files.server_files import ServerFiles, server_files
from runtime.errors import UserError
from runtime.settings.ingestor import IngestorSettings

RUNNER = CliRunner()
CONTENT = b"one\ntwo\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ORDER = "a" * 32


class Place:
    """A state directory, the files in it, and a file to push."""

    def __init__(self, directory: Path, fleet: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data, self.file = directory / "data", directory / "app.conf"
        self.data.mkdir()
        self.file.write_bytes(CONTENT)
        url = fleet.url.render_as_string(hide_password=False)
        monkeypatch.setenv("DASHFLEET_DATA", str(self.data))
        monkeypatch.setenv("DASHFLEET_INGESTOR_DATABASE", url)

    @property
    def stored(self) -> ServerFiles:
        fields = {"data": self.data, "database": "sqlite://", "server": "mqtt://127.0.0.1"}
        return server_files(IngestorSettings.model_validate(fields))

    def pulled(self, content: bytes = b"log", *, machine: str = "attic", order: str = ORDER) -> None:
        place = self.stored.pulled("home", machine)
        place.mkdir(parents=True)
        (place / order).write_bytes(content)

    def run(self, *arguments: str) -> str:
        done = RUNNER.invoke(dashfleet.application(), ["files", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    def listed(self, *arguments: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.run("list", "--json", *arguments))
        return found


@pytest.fixture
def place(tmp_path: Path, fleet: Engine, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, fleet, monkeypatch)


def test_a_file_is_offered_listed_copied_and_deleted(place: Place, tmp_path: Path) -> None:
    assert place.run("add", str(place.file)).strip() == SHA256
    assert place.run("add", str(place.file), "--org", "office").strip() == SHA256
    place.pulled()
    rows = {(row["org"], row["direction"]): row for row in place.listed()}
    assert set(rows) == {("home", "pushed"), ("office", "pushed"), ("home", "pulled")}
    assert rows["home", "pulled"]["id"] == ORDER
    assert rows["home", "pushed"]["size"] == len(CONTENT)
    assert [row["org"] for row in place.listed("--org", "office")] == ["office"]
    assert [row["id"] for row in place.listed("--machine", "attic")] == [ORDER]
    place.run("get", ORDER, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b"log"
    place.run("remove", SHA256, ORDER)
    assert place.listed() == []


def test_a_copy_never_overwrites_and_unknown_files_and_organisations_are_one_sentence(
    place: Place, tmp_path: Path
) -> None:
    place.pulled()
    (tmp_path / "copy").write_text("mine")
    for arguments, sentence in (
        (["get", ORDER, str(tmp_path / "copy")], "copy exists: name a new file"),
        (["get", ORDER, str(tmp_path / "no" / "copy")], "cannot write"),
        (["get", "../../x", str(tmp_path / "new")], "there is no file ../../x: dashfleet files list shows them"),
        (["remove", "b" * 32], "there is no file"),
        (["add", str(tmp_path / "missing")], "cannot read"),
        (["add", str(tmp_path)], "cannot read"),
        (["add", str(place.file), "--org", "nowhere"], "there is no organisation nowhere"),
    ):
        done = RUNNER.invoke(dashfleet.application(), ["files", *arguments])
        assert isinstance(done.exception, UserError), arguments
        assert sentence in str(done.exception)
    assert (tmp_path / "copy").read_text() == "mine"


def test_the_files_of_an_organisation_are_bounded_and_the_machines_of_another_do_not_find_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHFLEET_INGESTOR_ORG_FILE_BYTES", str(1 << 20))
    place.file.write_bytes(bytes(700_000))
    sha256 = place.run("add", str(place.file)).strip()
    assert place.stored.find("home", "attic", sha256) is not None
    assert place.stored.find("office", "attic", sha256) is None
    place.file.write_bytes(bytes(700_001))
    done = RUNNER.invoke(dashfleet.application(), ["files", "add", str(place.file)])
    assert "the files of the organisation home would exceed 1048576 bytes" in str(done.exception)


def test_a_file_offered_again_is_kept_as_long_as_a_new_one_and_an_old_one_is_deleted(place: Place) -> None:
    stored = place.stored
    found = stored.find("home", "attic", stored.add("home", place.file))
    assert found is not None
    os.utime(found, (0, 0))
    stored.add("home", place.file)  # which deletes the old one, and offers it anew
    assert found.stat().st_mtime > 0
    os.utime(found, (0, 0))
    place.file.write_bytes(b"other")
    stored.add("home", place.file)
    assert not found.exists()


def test_the_files_of_an_organisation_end_with_it(place: Place, fleet: Engine) -> None:
    url = fleet.url.render_as_string(hide_password=False)
    place.run("add", str(place.file))
    place.pulled()
    done = RUNNER.invoke(dashfleet.application(), ["org", "remove", "home", "--yes", "--database", url])
    assert done.exit_code == 0, done.output
    assert place.stored.entries() == []


def test_push_names_a_file_which_is_stored_only_when_the_order_is_sent(place: Place) -> None:
    words = ActWords.parse(["push", "attic", f"from={place.file}", "path=/srv/app.conf"], [], None, all_machines=False)
    assert complete(words, place.data, "home", offer=False).arguments == {"path": "/srv/app.conf", "sha256": SHA256}
    assert place.stored.entries() == []
    assert complete(words, place.data, "home", offer=True).arguments == {"path": "/srv/app.conf", "sha256": SHA256}
    assert [each.id for each in place.stored.entries()] == [SHA256]
    both = ActWords.parse(["push", "attic", f"from={place.file}", "sha256=" + SHA256], [], None, all_machines=False)
    with pytest.raises(UserError, match="give one of them"):
        complete(both, place.data, "home", offer=True)
