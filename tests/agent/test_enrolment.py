"""Enrolment over a real broker with a real ingestor."""

import itertools
import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import embedded_broker
from certificates import certificates
from sites import Site, now, site
from sqlalchemy import Engine

from agent.enrolment import Enrolment, enrolled_as
from agent.orders.trusted_keys import KEYS_FILE, TrustedKeys
from broker.client.transport import Event
from ingestor.admin import access, tokens
from ingestor.admin.key_changes import add_key
from runtime.clock import SystemClock
from runtime.errors import UserError
from runtime.settings.agent import AgentSettings
from runtime.settings.secret_files import read_secret
from runtime.state_directory import StateDirectory
from schemas.contract.enrolment import Token
from schemas.contract.signing import key_id, new_key, public_key

NONCES = (f"{number:032x}" for number in itertools.count(1))


@pytest.fixture
def server(database: Engine) -> Iterator[Site]:
    with site(database, "acme", "other", refresh_seconds=0.05) as running:
        yield running


def token(server: Site, *, uses: int = 1, seconds: float = 60, org: str = "acme") -> Token:
    return tokens.new_token(server.engine, org, uses=uses, seconds=seconds, created_by="", now=now)


def settings(server: Site, data: Path, **fields: Any) -> AgentSettings:  # noqa: ANN401
    return AgentSettings.model_validate({"data": data, "server": server.server, "machine": "attic", **fields})


def enrolment(server: Site, data: Path, with_: Token, **fields: Any) -> Enrolment:  # noqa: ANN401
    mine = settings(server, data, **fields)
    return Enrolment(mine, with_, nonce=next(NONCES), clock=SystemClock())


def refusal(server: Site, data: Path, with_: Token) -> str:
    with pytest.raises(UserError) as raised:
        enrolment(server, data, with_).run()
    return str(raised.value)


def test_a_private_authority_that_is_not_named_is_one_sentence_at_once(server: Site, tmp_path: Path) -> None:
    files = certificates(tmp_path / "tls")
    with_ = token(server)
    with embedded_broker({}, certificate=files.certificate, private_key=files.key) as broker:
        address = {"server": f"mqtts://127.0.0.1:{broker.port}"}
        mine = settings(server, tmp_path / "machine").model_copy(update=address)
        tried, started = Enrolment(mine, with_, nonce=next(NONCES), clock=SystemClock()), time.monotonic()
        with pytest.raises(UserError, match="name with --ca-file the certificate of its CA"):
            tried.run()
    assert time.monotonic() - started < 20


def test_a_machine_gets_its_place_and_everything_the_agent_needs(server: Site, tmp_path: Path) -> None:
    seed = new_key()
    add_key(server.engine, "acme", seed, name="first", signer=None, expires_at=None, now=now)
    assert enrolment(server, tmp_path, token(server)).run() == "attic"
    layout = StateDirectory(tmp_path)
    assert layout.enrolled == {"server": server.server, "org": "acme", "machine": "attic"}
    assert TrustedKeys(tmp_path / "agent" / KEYS_FILE, "acme").ids == (key_id(public_key(seed)),)
    assert enrolled_as(tmp_path) == "acme/attic"
    secret = read_secret(layout.secret("agent"))
    entry = server.broker.directory.find("acme.attic")
    assert entry is not None
    assert entry.record_of(secret) is not None


def test_only_its_owner_can_read_what_it_leaves_and_nothing_is_left_half_done(server: Site, tmp_path: Path) -> None:
    enrolment(server, tmp_path, token(server)).run()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and "fleet.db" not in path.name]
    assert {path.name for path in files} == {"enrolment.json", "keys.json", "journal.db", "agent"}
    assert not [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_a_second_machine_of_the_same_name_gets_another(server: Site, tmp_path: Path) -> None:
    with_ = token(server, uses=2)
    assert [enrolment(server, tmp_path / name, with_).run() for name in "ab"] == ["attic", "attic-2"]


def test_a_used_up_an_expired_and_a_foreign_token_are_refused_in_words(server: Site, tmp_path: Path) -> None:
    with_ = token(server)
    enrolment(server, tmp_path / "a", with_).run()
    assert "enrolled all the machines" in refusal(server, tmp_path / "b", with_)
    assert "has expired" in refusal(server, tmp_path / "c", token(server, seconds=0.001))
    revoked = token(server)
    tokens.revoke_token(server.engine, f"acme._{revoked.name}", now=now)
    assert "refused the token" in refusal(server, tmp_path / "d", revoked)
    assert "refused the token" in refusal(server, tmp_path / "e", Token("other", with_.name, with_.secret))
    assert [enrolled_as(tmp_path / name) for name in "bcde"] == [None] * 4


def test_no_refusal_and_no_file_repeats_the_token(server: Site, tmp_path: Path) -> None:
    with_ = token(server, uses=2)
    enrolment(server, tmp_path / "a", with_).run()
    said = [refusal(server, tmp_path / "b", Token("other", with_.name, with_.secret)), repr(with_)]
    files = [path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert not [text for text in said if with_.secret in text]
    assert not [text for text in files if with_.secret.encode() in text]


def test_a_lost_answer_costs_no_second_use_of_the_token(
    server: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt dies when it has the answer; the second continues."""
    with_ = token(server)
    first = enrolment(server, tmp_path, with_)
    original = first._answer

    def die(event: Event) -> None:
        if original(event) is not None:
            raise KeyboardInterrupt

    monkeypatch.setattr(first, "_answer", die)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    assert tokens.list_tokens(server.engine)[0]["used"] == 1
    assert enrolled_as(tmp_path) is None
    assert enrolment(server, tmp_path, with_).run() == "attic"
    assert tokens.list_tokens(server.engine)[0]["used"] == 1


def test_an_ingestor_that_comes_later_still_answers(server: Site, tmp_path: Path) -> None:
    server.pause_ingestor()
    first = enrolment(server, tmp_path, token(server))
    original = first._converse

    def converse(transport: Any, request: Any) -> Any:  # noqa: ANN401
        server.start_ingestor()
        return original(transport, request)

    first._converse = converse  # type: ignore[method-assign]
    assert first.run() == "attic"


def test_a_damaged_note_of_an_earlier_attempt_is_no_obstacle(server: Site, tmp_path: Path) -> None:
    note = tmp_path / "agent" / "enrolling.json"
    note.parent.mkdir()
    for text in ("", "{", "[]", '{"token": "x"}', json.dumps({"token": 1, "nonce": 2, "machine": 3, "secret": 4})):
        note.write_text(text)
        enrolment(server, tmp_path, token(server))
    assert enrolment(server, tmp_path, token(server)).run() == "attic"


def test_a_directory_that_cannot_be_written_is_one_sentence(server: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    assert "cannot write in" in refusal(server, tmp_path / "file", token(server))


def test_machines_that_enrol_with_one_token_at_once_all_get_a_place(server: Site, tmp_path: Path) -> None:
    """They share the token's principal, but neither connection nor answers."""
    from concurrent.futures import ThreadPoolExecutor

    with_ = token(server, uses=10)
    with ThreadPoolExecutor(10) as pool:
        names = list(pool.map(lambda n: enrolment(server, tmp_path / str(n), with_).run(), range(10)))
    assert sorted(names) == sorted(["attic", *(f"attic-{number}" for number in range(2, 11))])
    for number, name in enumerate(names):
        entry = server.broker.directory.find(f"acme.{name}")
        assert entry is not None
        assert entry.record_of(read_secret(StateDirectory(tmp_path / str(number)).secret("agent"))) is not None


def test_a_revoked_machine_stays_out_and_its_name_is_not_given_again(server: Site, tmp_path: Path) -> None:
    enrolment(server, tmp_path / "a", token(server)).run()
    access.revoke_principal(server.engine, "acme.attic", now=now)
    assert enrolment(server, tmp_path / "b", token(server)).run() == "attic-2"
