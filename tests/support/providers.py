"""An OpenID Connect provider in a child process."""

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
    """The issuer, and the credential of a registered client."""

    issuer: str
    client_id: str
    secret: str


@contextmanager
def provider(back: str, *people: Mapping[str, Any]) -> Iterator[Provider]:
    """Run a provider with users of these claims and one client, whose redirect address is `back`."""
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
    """Sign in as `sub` at the provider, and return the address to which it redirects the browser."""
    answer = httpx2.post(address, data={"sub": sub})
    assert answer.status_code in (302, 303), answer.text
    return answer.headers["location"]
