"""A real OpenID Connect provider as a child of the test."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from servers import free_port, listens, stop
from waiting import wait_until


@dataclass(frozen=True)
class Provider:
    """Where it is, and what it takes for a client of ours."""

    issuer: str
    client_id: str
    secret: str


@contextmanager
def provider(back: str, *people: Mapping[str, Any]) -> Iterator[Provider]:
    """One that knows these people by their claims, and one client, which comes back to this address."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    argv = [str(Path(sys.executable).parent / "oidc-provider-mock"), "--port", str(port)]
    argv += ["--require-registration", "true", "--require-nonce", "true"]
    for claims in people:
        argv += ["--user-claims", json.dumps(claims)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            wait_until(lambda: listens(port) or process.poll() is not None, what="the provider listening")
            wanted = {"redirect_uris": [back], "token_endpoint_auth_method": "client_secret_basic"}
            made = httpx2.post(f"{issuer}/oauth2/clients", json=wanted).raise_for_status().json()
            yield Provider(issuer, made["client_id"], made["client_secret"])
        finally:
            stop(process)


def agree(address: str, sub: str) -> str:
    """Be somebody at the provider and agree; returns where the provider sends the browser back to."""
    answer = httpx2.post(address, data={"sub": sub})
    assert answer.status_code in (302, 303), answer.text
    return answer.headers["location"]
