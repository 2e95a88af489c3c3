"""`dashfleet agent enrol`: where the token comes from, and what is refused."""

from pathlib import Path

from command_line import dashfleet, refusal

from runtime.settings.secret_files import write_secret
from runtime.state_directory import StateDirectory


def test_a_token_is_not_sent_in_the_clear(tmp_path: Path) -> None:
    sentence = refusal("agent", "enrol", "--data", str(tmp_path), "--server", "mqtt://192.0.2.1", DASHFLEET_TOKEN="x")
    assert "without encryption" in sentence
    assert "mqtts://" in sentence


def test_what_is_no_token_is_one_sentence_that_does_not_repeat_it(tmp_path: Path) -> None:
    sentence = refusal("agent", "enrol", "--data", str(tmp_path), DASHFLEET_TOKEN="do-not-show")
    assert "not a token" in sentence
    assert "do-not-show" not in sentence


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    write_secret(file, f"acme.token-1.{'x' * 43}")
    file.chmod(0o644)
    assert f"chmod 600 {file}" in refusal("agent", "enrol", "--data", str(tmp_path), "--token-file", str(file))


def test_a_machine_that_is_enrolled_says_so_and_asks_for_no_token(tmp_path: Path) -> None:
    layout = StateDirectory(tmp_path)
    (tmp_path / "agent").mkdir()
    layout.enrol({"server": "mqtt://127.0.0.1:1", "org": "acme", "machine": "attic"})
    write_secret(layout.secret("agent"), "made-up")
    done = dashfleet("agent", "enrol", "--data", str(tmp_path))
    assert done.returncode == 0
    assert "already enrolled as acme/attic" in done.stdout
    settings = dashfleet("agent", "--data", str(tmp_path), "--check").stdout
    assert "org = 'acme'" in settings
    assert "machine = 'attic'" in settings
    assert "server = 'mqtt://127.0.0.1:1'" in settings
