"""Enrolment tokens and the secret hash in an enrolment request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from broker.access.credentials import hash_secret, new_secret
from schemas.contract.enrolment import EnrolRequest, Token

NONCE = "0" * 32


def test_a_token_is_read_as_it_is_written() -> None:
    token = Token("acme", "token-1", new_secret())
    assert Token.parse(str(token)) == token
    assert Token.parse(f"  {token}\n") == token


def test_a_token_does_not_show_its_secret_but_where_it_is_asked_for() -> None:
    token = Token("acme", "token-1", new_secret())
    assert token.secret not in repr(token)


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "acme", "acme.token-1", "acme.token-1.", f"acme.token-1.{'x' * 42}", f"acme.token-1.{'x' * 44}",
     f"Acme.token-1.{'x' * 43}", f"acme._token.{'x' * 43}", f".token-1.{'x' * 43}", f"acme..{'x' * 43}"],
)  # fmt: skip
def test_what_is_no_token_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="not a token") as raised:
        Token.parse(text)
    assert len(text) < 20 or text not in str(raised.value)


@given(st.text())
def test_whatever_is_pasted_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="dashfleet token create"):
        Token.parse(text)


def test_the_record_of_a_secret_is_what_a_request_may_carry() -> None:
    record = hash_secret(new_secret())
    request = EnrolRequest(nonce=NONCE, machine="attic", hostname="attic", secret_hash=record)
    assert EnrolRequest.decode(request.encode()) == request


@pytest.mark.parametrize(
    "record",
    ["", "made-up", hash_secret("x").replace("$101$", "$1$"), hash_secret("x").replace("$101$", "$999999$"),
     hash_secret("x") + "\n", hash_secret("x").replace("$7$", "$6$"), hash_secret("x")[:-1]],
)  # fmt: skip
def test_a_record_that_is_weaker_costlier_or_none_is_refused(record: str) -> None:
    with pytest.raises(ValidationError):
        EnrolRequest(nonce=NONCE, machine="attic", hostname="attic", secret_hash=record)
