"""`dashfleet backup` and `restore`: a whole server goes into one archive and comes back elsewhere."""

import gzip
import io
import json
import lzma
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from command_line import dashfleet, refusal

from cli.archive import is_archive, opened_archive, read_manifest
from dashboard.auth import auth_database
from dashboard.auth.users import verify
from runtime.errors import UserError
from runtime.state_directory import StateDirectory

SERVER = "mqtts://fleet.example.org:8883"


def run(data: Path, *arguments: str) -> str:
    done = dashfleet(*arguments, "--data", str(data))
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def server_to_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with two organisations, a certificate and settings."""
    data = tmp_path_factory.mktemp("original") / "server"
    run(data, "tls", "fleet.example.org")
    run(data, "setup", "--server", SERVER, "--machine", "attic")
    run(data, "org", "add", "acme")
    (data / "dashfleet.toml").write_text("[dashboard]\nport = 8600\n")
    return data


@pytest.fixture
def server(server_to_copy: Path, tmp_path: Path) -> Path:
    """A copy for one test, which may change it."""
    return Path(shutil.copytree(server_to_copy, tmp_path / "server"))


def files_of(data: Path) -> dict[str, bytes]:
    left_out = ("dashfleet.db", "people.db", ".lock")
    found = {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith(left_out)}


def test_a_whole_server_comes_back_from_one_archive(server: Path, tmp_path: Path) -> None:
    file, back = tmp_path / "server.tar", tmp_path / "back"
    engine = auth_database.open_auth_database(StateDirectory(server).people_url)
    with engine.connect():  # an open reader: what is added stays in the write-ahead log
        password = dashfleet("user", "add", "ada", "--org", "acme", "--generate", "--data", str(server)).stdout.strip()
        assert (server / "people.db-wal").stat().st_size > 0
        said = run(server, "backup", str(file))
    engine.dispose()
    assert "keep" in said
    assert "unencrypted" in said
    assert file.stat().st_mode & 0o777 == 0o600
    said = run(back, "restore", str(file))
    assert {path.stat().st_mode & 0o077 for path in back.rglob("*") if path.is_file()} == {0}
    known = files_of(server)
    for name in [name for name in known if name.startswith(("agent/keys.json", "agent/journal.db"))]:
        del known[name]  # which `up` and `setup` write again
    assert files_of(back) == known
    assert json.loads((back / "up.json").read_text())["server"] == SERVER
    engine = auth_database.open_auth_database(StateDirectory(back).people_url)
    assert verify(engine, "ada", password) is not None
    engine.dispose()
    assert {row["org"] for row in json.loads(run(back, "org", "list", "--json"))} == {"home", "acme"}
    assert [path.name for path in back.iterdir() if path.name.startswith(".")] == []


def test_a_restore_lists_the_credentials_that_are_valid_again_and_revokes_those_named(
    server: Path, tmp_path: Path
) -> None:
    file, back, names = tmp_path / "server.tar", tmp_path / "back", tmp_path / "revoked"
    for name in ("grafana", "prober"):
        run(server, "principal", "add", name, "--role", "reader")
    run(server, "token", "create")
    token = json.loads(run(server, "token", "list", "--json"))[0]["token"]
    run(server, "principal", "revoke", "home._prober")
    run(server, "backup", str(file))
    run(server, "principal", "revoke", "home._grafana")
    said = run(back, "restore", str(file))
    assert "revoked or rotated after 20" in said
    listed = [line.strip() for line in said.splitlines() if line.startswith("    ")]
    assert {"home._grafana", "home.attic", "home._watch", token} <= set(listed)
    assert "home._prober" not in listed
    names.write_text("home._grafana\nhome._nobody\n")
    said = run(tmp_path / "again", "restore", str(file), "--revoked", str(names))
    assert "Revoked home._grafana." in said
    assert "    home._grafana" not in said
    assert "Not revoked" in said
    assert revoked(tmp_path / "again") == {"home._grafana", "home._prober"}


def revoked(data: Path) -> set[str]:
    listed = json.loads(dashfleet("principal", "list", "--json", "--data", str(data)).stdout)
    return {row["username"] for row in listed if row["revoked"] is not None}


def test_a_restore_under_a_new_name_records_it(server: Path, tmp_path: Path) -> None:
    file = tmp_path / "server.tar"
    run(server, "backup", str(file))
    run(tmp_path / "back", "restore", str(file), "--server", "mqtts://new.example.org:8883")
    recorded = json.loads((tmp_path / "back" / "up.json").read_text())
    assert recorded == {"server": "mqtts://new.example.org:8883", "machine": "attic"}
    assert "--server" in refusal("restore", str(file), "--data", str(tmp_path / "bad"), "--server", "new.example.org")
    assert not (tmp_path / "bad").exists()
    run(tmp_path / "back", "tls", "new.example.org", "--renew")


def test_nothing_is_overwritten_and_a_failed_restore_leaves_nothing(server: Path, tmp_path: Path) -> None:
    file, back = tmp_path / "server.tar", tmp_path / "back"
    run(server, "backup", str(file))
    before = files_of(server)
    assert "exists already" in refusal("restore", str(file), "--data", str(server))
    assert files_of(server) == before
    back.mkdir()
    (back / "dashfleet.db").write_text("mine")
    assert "exists already" in refusal("restore", str(file), "--data", str(back))
    assert [path.name for path in back.rglob("*") if path.is_file()] == ["dashfleet.db"]
    other = str(tmp_path / "other.db")
    run(server, "restore", str(file), "--database-only", "--database", f"sqlite:///{other}")
    assert Path(other).exists()


def test_settings_that_exist_are_kept(server: Path, tmp_path: Path) -> None:
    file, back = tmp_path / "server.tar", tmp_path / "back"
    run(server, "backup", str(file))
    back.mkdir()
    database, people = back / "moved.db", back / "moved-people.db"
    (back / "dashfleet.toml").write_text(
        f'[ingestor]\ndatabase = "sqlite:///{database}"\n[dashboard]\nauth_database = "sqlite:///{people}"\n'
    )
    run(back, "restore", str(file))
    assert database.exists()
    assert "moved.db" in (back / "dashfleet.toml").read_text()


def test_the_database_alone_is_a_file_that_restore_takes_too(server: Path, tmp_path: Path) -> None:
    file = tmp_path / "fleet.db"
    assert "unencrypted" not in run(server, "backup", str(file), "--database-only")
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM org").fetchone() == (2,)
    said = run(tmp_path / "back", "restore", str(file))
    assert "valid again" in said
    assert not (tmp_path / "back" / "secrets").exists()


def test_what_is_left_out_is_named(server: Path, tmp_path: Path) -> None:
    (server / "dashfleet.toml").write_text('[broker]\ncertificate = "/etc/ssl/server.pem"\n')
    said = dashfleet(
        "backup", str(tmp_path / "server.tar"), "--data", str(server),
        DASHFLEET_DASHBOARD_AUTH_DATABASE="postgresql+psycopg://people@db/people",
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "Not included: the users" in said.stderr
    assert "Not included: /etc/ssl/server.pem" in said.stderr


def archive_of(**members: bytes) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bytes])
@pytest.mark.parametrize("kept", [0.95, 0.5, 0.001])
def test_an_archive_that_was_compressed_and_cut_off_is_damaged(
    compress: Callable[[bytes], bytes], kept: float, tmp_path: Path
) -> None:
    whole = compress(archive_of(manifest_json=b'{"at": 1}', fleet_db=os.urandom(300_000)))
    file = tmp_path / "backup.tar"
    file.write_bytes(whole[: int(len(whole) * kept)])
    if is_archive(file):
        with (
            pytest.raises(UserError, match="is no backup of DashFleet, or it is damaged"),
            opened_archive(file, tmp_path),
        ):
            pass
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"at": "x"}', b"\xff", b"[" * 100_000])
def test_an_archive_with_a_manifest_that_cannot_be_read_is_damaged(manifest: bytes, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    file.write_bytes(archive_of(manifest_json=manifest, fleet_db=b"x"))
    with (
        pytest.raises(UserError, match=r"manifest\.json cannot be read"),
        opened_archive(file, tmp_path / "back") as directory,
    ):
        read_manifest(directory)


@pytest.mark.parametrize("name", ["../evil", "secrets/../../evil", "/evil", "bin/evil", "link"])
def test_an_archive_with_anything_else_is_refused(name: str, server: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.tar", tmp_path / "bad.tar"
    run(server, "backup", str(good))
    with tarfile.open(good) as reading, tarfile.open(bad, "w") as writing:
        for member in reading:
            writing.addfile(member, reading.extractfile(member))
        extra = tarfile.TarInfo(name)
        if name == "link":
            extra.name, extra.type, extra.linkname = "secrets/link", tarfile.SYMTYPE, "/etc/passwd"
        writing.addfile(extra, io.BytesIO())
    assert "unexpected member" in refusal("restore", str(bad), "--data", str(tmp_path / "back"))
    assert [path for path in (tmp_path / "back").rglob("*") if path.is_file()] == []
    assert not (tmp_path / "evil").exists()
