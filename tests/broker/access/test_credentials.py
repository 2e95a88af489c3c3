"""Secrets and their records."""

import base64
import hashlib
import itertools
import subprocess
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion
from servers import mosquitto, require_program
from waiting import wait_until

from broker.access.credentials import hash_secret, new_secret, verify_secret

SECRET = "q6mXr0V3c1b8Wd9YtZk2LhJ5nPfGsAeU7iRoQxTyMvE"
RECORD = hash_secret(SECRET)


def test_a_secret_has_256_bits_and_is_never_the_same() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(base64.urlsafe_b64decode(secret + "=")) == 32 for secret in secrets)


def test_a_record_is_mosquittos_form_of_pbkdf2() -> None:
    empty, scheme, iterations, salt, key = RECORD.split("$")
    assert (empty, scheme, iterations) == ("", "7", "101")
    raw_salt = base64.b64decode(salt)
    assert len(raw_salt) == 12
    assert raw_salt.isascii()
    assert base64.b64decode(key) == hashlib.pbkdf2_hmac("sha512", SECRET.encode(), raw_salt, 101, 64)


def test_a_record_matches_its_secret_and_no_other() -> None:
    assert verify_secret(SECRET, RECORD)
    assert not verify_secret(SECRET + "x", RECORD)
    assert not verify_secret("", RECORD)


def test_a_record_with_other_iterations_matches_too() -> None:
    salt = b"twelve-bytes"
    key = hashlib.pbkdf2_hmac("sha512", SECRET.encode(), salt, 1000, 64)
    record = f"$7$1000${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
    assert verify_secret(SECRET, record)


def test_the_same_secret_gives_another_record_each_time() -> None:
    assert hash_secret(SECRET) != hash_secret(SECRET)


@pytest.mark.parametrize(
    "record",
    [
        "",
        "$",
        "$$$$",
        SECRET,
        RECORD[1:],
        RECORD + "$",
        RECORD.replace("$7$", "$6$"),
        RECORD.replace("$101$", "$0$"),
        RECORD.replace("$101$", "$-1$"),
        RECORD.replace("$101$", "$many$"),
        RECORD.replace("$101$", "$10000000000$"),
        RECORD[:-10],
        RECORD[:-1] + "\u00e9",
        RECORD.rsplit("$", 1)[0] + "$",
        RECORD.rsplit("$", 2)[0] + "$$" + RECORD.rsplit("$", 1)[1],
    ],
    ids=itertools.count(),  # a record is another one in each process
)
def test_what_is_no_record_matches_nothing(record: str) -> None:
    assert not verify_secret(SECRET, record)


def test_a_secret_that_is_no_text_matches_nothing() -> None:
    assert not verify_secret("\ud800", RECORD)


@given(st.text(), st.text())
def test_nothing_makes_verifying_raise(secret: str, record: str) -> None:
    assert not verify_secret(secret, record)
    assert not verify_secret(secret, "$7$101$" + record)


def test_mosquitto_knows_a_principal_by_the_same_record(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text(f"home.attic:{RECORD}\n")
    with mosquitto(tmp_path, lines=f"allow_anonymous false\npassword_file {passwords}") as port:
        assert _connect_code(port, SECRET) == 0
        assert _connect_code(port, SECRET[:-1]) != 0


def test_a_record_that_mosquitto_made_matches(tmp_path: Path) -> None:
    program = require_program("mosquitto_passwd", "mosquitto")
    passwords = tmp_path / "passwords"
    passwords.touch()
    subprocess.run([program, "-b", str(passwords), "home.attic", SECRET], check=True)
    record = passwords.read_text().strip().partition(":")[2]
    assert verify_secret(SECRET, record)


def _connect_code(port: int, password: str) -> int:
    codes: list[int] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="home.attic")
    client.username_pw_set("home.attic", password)
    client.on_connect = lambda _c, _u, _f, reason, _p: codes.append(reason.value)
    client.connect("127.0.0.1", port)
    try:
        wait_until(lambda: client.loop(0.05) is not None and codes, what="CONNACK")
    finally:
        client.disconnect()
    return codes[0]
