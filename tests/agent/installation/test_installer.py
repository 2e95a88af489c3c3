"""Installing the agent in a root of its own, against a real broker and ingestor: complete, repeatable, undone."""

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import certificates
from chroots import LayeredRoot
from sites import Site, now, site
from sqlalchemy import Engine

from agent.installation import accounts
from ingestor.admin import tokens
from ingestor.admin.access import revoke_principal
from runtime.bundle.fingerprint import fingerprint
from runtime.errors import UserError

UNIT = "etc/systemd/system/dashfleet-agent.service"
DATABASES = {
    f"etc/{name}{end}" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid") for end in ("", "-")
}
DATABASES.add("etc/.pwd.lock")
"""Files that useradd and userdel write again with the same content, and their backups."""

pytestmark = pytest.mark.skipif(not Path("/usr/lib/systemd/systemd").exists(), reason="the host has no systemd")


@pytest.fixture
def server(database: Engine) -> Iterator[Site]:
    with site(database, "acme", refresh_seconds=0.05) as running:
        yield running


@pytest.fixture
def root(tmp_path: Path) -> LayeredRoot:
    (tmp_path / "layers").mkdir()
    made = LayeredRoot(tmp_path / "layers")
    made.run("chmod", "711", "/root")  # the Python of the tests may be below it
    return made


def token(server: Site, *, age_seconds: int = 0) -> str:
    made_at = now() - 1000 * age_seconds
    return str(tokens.new_token(server.engine, "acme", uses=1, seconds=60, created_by="", now=lambda: made_at))


def agent(root: LayeredRoot, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return root.run(sys.executable, "-P", "-m", "dashfleet", "agent", *words, typed=typed)


def install(root: LayeredRoot, server: Site, with_: str, *words: str) -> subprocess.CompletedProcess[str]:
    return agent(
        root, "install", "--server", server.server, "--machine", "attic", "--token-file", "-", *words, typed=with_
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


def test_an_installation_is_complete_and_repeating_it_changes_nothing_and_removing_it_leaves_nothing(
    root: LayeredRoot, server: Site
) -> None:
    done = install(root, server, token(server))
    assert done.returncode == 0, done.stderr
    assert "Enrolled as acme/attic." in done.stdout
    assert "it starts with the next start of this system" in done.stdout
    unit = root.path(UNIT).read_text()
    assert f"ExecStart={Path(sys.prefix) / 'bin/dashfleet'} agent --data /var/lib/dashfleet" in unit
    assert root.path(f"{UNIT.replace('system/', 'system/multi-user.target.wants/')}").is_symlink()
    secret = root.path("var/lib/dashfleet/secrets/agent").stat()
    assert (stat.S_IMODE(secret.st_mode), secret.st_uid != 0) == (0o600, True)
    assert stat.S_IMODE(root.path("var/lib/dashfleet").stat().st_mode) == 0o700

    before = {name: root.path(name).lstat().st_mtime_ns for name in root.changes()}
    again = install(root, server, "")
    assert again.returncode == 0, again.stderr
    assert {name: root.path(name).lstat().st_mtime_ns for name in root.changes()} == before

    removed = agent(root, "uninstall")
    assert removed.returncode == 0, removed.stderr
    assert "The server still lists it as acme/attic" in removed.stdout
    assert "run on the server: dashfleet principal revoke acme.attic" in removed.stdout
    assert root.changes() <= DATABASES
    assert "dashfleet" not in root.path("etc/passwd").read_text()


def test_what_is_missing_is_repaired(root: LayeredRoot, server: Site) -> None:
    assert install(root, server, token(server)).returncode == 0
    agreed = root.path(UNIT).read_text()
    root.run("sh", "-c", f"echo '# changed' >> /{UNIT}; chmod 755 /var/lib/dashfleet")
    assert install(root, server, "").returncode == 0
    assert root.path(UNIT).read_text() == agreed
    assert stat.S_IMODE(root.path("var/lib/dashfleet").stat().st_mode) == 0o700


def test_an_expired_token_is_one_sentence_and_leaves_nothing(root: LayeredRoot, server: Site) -> None:
    line = refusal(install(root, server, token(server, age_seconds=120)))
    assert "the token has expired: ask for another" in line
    assert root.changes() <= DATABASES


def test_a_ca_certificate_with_another_fingerprint_is_one_sentence_and_the_token_is_not_sent(
    root: LayeredRoot, server: Site, tmp_path: Path
) -> None:
    authority = certificates(tmp_path / "tls").authority
    with_ = token(server)
    line = refusal(install(root, server, with_, "--ca-file", str(authority), "--ca-sha256", "0" * 64))
    assert "does not have the fingerprint of this command, so the token was not sent" in line
    assert root.changes() <= DATABASES
    pin = fingerprint(authority.read_bytes()).upper()
    pin = ":".join(pin[at : at + 2] for at in range(0, len(pin), 2))
    assert install(root, server, with_, "--ca-file", str(authority), "--ca-sha256", pin).returncode == 0


def test_a_machine_of_another_server_is_not_taken_over(root: LayeredRoot, server: Site) -> None:
    assert install(root, server, token(server)).returncode == 0
    line = refusal(agent(root, "install", "--server", "mqtts://other.example.org"))
    assert "this machine is enrolled as acme/attic at" in line
    assert "--uninstall" in line


def test_without_a_server_the_sentence_says_where_the_command_is(root: LayeredRoot) -> None:
    assert "copy the whole command from the dashboard" in refusal(agent(root, "install"))
    assert root.changes() <= DATABASES


def test_a_python_that_the_user_cannot_run_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(accounts, "run_as_user", fail)
    with pytest.raises(UserError, match="the user dashfleet cannot run /root/venv/bin/python"):
        accounts.require_usable(Path("/root/venv/bin/python"), tmp_path)


def test_removing_what_is_not_there_is_one_sentence(root: LayeredRoot) -> None:
    assert "nothing to remove" in refusal(agent(root, "uninstall"))


def test_a_machine_that_is_removed_can_be_retired_at_its_server_and_a_user_who_existed_stays(
    root: LayeredRoot, server: Site
) -> None:
    assert root.run("useradd", "--system", "dashfleet").returncode == 0
    assert install(root, server, token(server)).returncode == 0
    assert "use one of the two" in refusal(agent(root, "uninstall", "--retire", "--keep-data"))
    removed = agent(root, "uninstall", "--retire")
    assert removed.returncode == 0, removed.stderr
    assert "The server has retired acme/attic and revoked its secret; its history stays there." in removed.stdout
    with pytest.raises(UserError, match="revoked already"):
        revoke_principal(server.engine, "acme.attic", now=now)
    assert "dashfleet" in root.path("etc/passwd").read_text()


def test_status_and_doctor_find_the_installation_and_say_that_it_does_not_run(root: LayeredRoot, server: Site) -> None:
    assert install(root, server, token(server)).returncode == 0
    told = agent(root, "status", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["machine"] == "acme/attic"
    assert json.loads(told.stdout)["running"] is False
    found = {each["check"]: each for each in json.loads(agent(root, "doctor", "--json").stdout)}
    assert set(found) == {"dns", "port", "certificate", "clock", "secret", "service", "permissions", "disk"}
    assert found["secret"]["verdict"] == "ok"
    assert found["service"]["verdict"] == "problem"
    assert found["service"]["advice"]


def test_without_root_the_sentence_says_so(root: LayeredRoot) -> None:
    words = ("setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-P", "-m", "dashfleet", "agent", "install")
    assert "sudo" in refusal(root.run(*words))
    assert root.changes() == set()
