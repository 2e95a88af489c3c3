"""Files with secrets: only their owner can read them."""

import stat
from pathlib import Path

import pytest

from runtime.errors import SettingsError
from runtime.settings.secret_files import read_secret, write_secret

SECRET = "correct-horse-battery"

SECRET = "correct-horse-battery"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(mode)

    with pytest.raises(SettingsError, match=f"can be read by others: run chmod 600 {path}") as refused:
        read_secret(path)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_bytes(content)

    with pytest.raises(SettingsError, match=f"secret in {path}: "):
        read_secret(path)


def test_a_secret_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"cannot read the secret in {tmp_path / 'missing'}: No such file"):
        read_secret(tmp_path / "missing")


def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_text(f"{SECRET}\na remark\n")

    assert read_secret(path) == SECRET


@pytest.mark.parametrize("before", [None, 0o644])
def test_a_written_secret_is_its_owners_alone(tmp_path: Path, before: int | None) -> None:
    path = tmp_path / "secrets" / "agent"
    if before is not None:
        path.parent.mkdir()
        path.write_text("old and longer than the new one is")
        path.chmod(before)
    write_secret(path, SECRET)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secret(path) == SECRET


@pytest.mark.parametrize(("mode", "accepted"), [(0o440, True), (0o400, True), (0o444, False), (0o460, False)])
def test_a_credential_of_systemd_may_be_read_by_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, accepted: bool
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    for name in ("credentials/agent", "elsewhere"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(SECRET)
        path.chmod(mode)
    (tmp_path / "credentials" / "link").symlink_to(tmp_path / "elsewhere")

    if accepted:
        assert read_secret(tmp_path / "credentials" / "agent") == SECRET
    else:
        with pytest.raises(SettingsError, match="can be read by others"):
            read_secret(tmp_path / "credentials" / "agent")
    if mode != 0o400:
        for name in ("elsewhere", "credentials/link"):
            with pytest.raises(SettingsError, match="can be read by others"):
                read_secret(tmp_path / name)
