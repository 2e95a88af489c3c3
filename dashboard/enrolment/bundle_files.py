"""The files that machines install from, served without a session: the install scripts and the bundle.

Invariants:
- Only the files that the manifest names are served, at addresses with their hashes; no directory is listed.
- The bundle is built when a machine first asks for it, so that the start does not wait, and once per process.
- A client address has a limited number of requests; an address without any left is told when to come back.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from dashboard.auth.middleware import BUNDLE, INSTALL_SCRIPTS
from dashboard.enrolment.request_rate import RequestRate
from runtime.bundle import builder
from runtime.bundle.manifest import AUTHORITY, MANIFEST, Manifest
from runtime.clock import Clock
from runtime.errors import UserError

_FOR_EVER: Final = {"cache-control": "public, max-age=31536000, immutable"}
_FRESH: Final = {"cache-control": "no-cache"}
_log = logging.getLogger(__name__)


class BundleFiles:
    """The routes. `directory`: of the bundle; `authority`: CA certificate of the broker, if it has one of its own."""

    def __init__(self, directory: Path, authority: Path | None, clock: Clock) -> None:
        self._directory = directory
        self._authority = authority
        self._rate = RequestRate(clock)
        self._building = asyncio.Lock()
        self._manifest: Manifest | None = None
        self._read_at = 0

    def routes(self) -> list[Route]:
        """Return the routes."""
        served = [Route(path, self._script, methods=["GET"]) for path in INSTALL_SCRIPTS]
        served.append(Route(BUNDLE + AUTHORITY, self._serve_authority, methods=["GET"]))
        served.append(Route(BUNDLE + MANIFEST, self._serve_manifest, methods=["GET"]))
        return [*served, Route(BUNDLE + "{sha256}/{name}", self._serve_file, methods=["GET"])]

    async def _script(self, request: Request) -> Response:
        if refused := await self._prepare(request):
            return refused
        return FileResponse(
            self._directory / request.url.path.rpartition("/")[2], media_type="text/plain", headers=_FRESH
        )

    async def _serve_manifest(self, request: Request) -> Response:
        if refused := await self._prepare(request):
            return refused
        return FileResponse(self._directory / MANIFEST, media_type="application/json", headers=_FRESH)

    async def _serve_authority(self, request: Request) -> Response:
        if refused := self._throttle(request):
            return refused
        if self._authority is None or not self._authority.exists():
            return _not_found()
        return FileResponse(self._authority, media_type="application/x-pem-file", headers=_FRESH)

    async def _serve_file(self, request: Request) -> Response:
        if refused := await self._prepare(request):
            return refused
        wanted = f"{request.path_params['sha256']}/{request.path_params['name']}"
        known = self._manifest.files if self._manifest is not None else []
        path = next((self._directory / file.path for file in known if file.path == wanted), None)
        if path is None or not path.exists():
            return _not_found()
        return FileResponse(path, media_type="application/octet-stream", headers=_FOR_EVER)

    async def _prepare(self, request: Request) -> Response | None:
        """Have the bundle of this installation in the directory; return an answer if it cannot be served."""
        if refused := self._throttle(request):
            return refused
        try:
            async with self._building:
                await asyncio.to_thread(self._refresh)
        except UserError as error:
            _log.error("machines cannot install from here: %s", error)
            return PlainTextResponse("the server has no bundle; its log has the reason\n", 503, headers=_FRESH)
        return None

    def _refresh(self) -> None:
        """Build the bundle once, and read it again when `dashfleet bundle` has replaced it. Raises UserError."""
        path = self._directory / MANIFEST
        if self._manifest is None or not path.exists():
            self._manifest, self._read_at = builder.ensure(self._directory), path.stat().st_mtime_ns
        elif (at := path.stat().st_mtime_ns) != self._read_at:
            self._manifest, self._read_at = builder.read(self._directory), at

    def _throttle(self, request: Request) -> Response | None:
        seconds = self._rate.admit(request.client.host if request.client else "")
        if not seconds:
            return None
        headers = {"retry-after": str(seconds), **_FRESH}
        return PlainTextResponse("too many requests from this address\n", 429, headers=headers)


def _not_found() -> Response:
    return PlainTextResponse("not found\n", 404, headers=_FRESH)
