"""Removal of a destination's secrets from text that is logged or shown, such as the answer of its service."""

import re
from base64 import b64encode
from typing import Final
from urllib.parse import unquote, urlsplit

_PIECE_MIN: Final = 5
_SEPARATORS: Final = re.compile(r"[/?&=:@,;+#]+")
HIDDEN: Final = "***"


def redact(text: str, url: str) -> str:
    """Return the text without any piece of the URL that may be a secret: everything but the scheme and a host name."""
    rest = url.partition("://")[2]
    host = (urlsplit(url).hostname or "") if "." in rest else ""
    pieces = {piece for each in (rest, unquote(rest)) for piece in _SEPARATORS.split(each)}
    pieces |= {unquote(piece) for piece in _SEPARATORS.split(rest)}  # with separators inside, which were encoded
    pieces.add(_basic(rest))
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= _PIECE_MIN and piece.lower() != host:
            text = text.replace(piece, HIDDEN)
    return text


def _basic(rest: str) -> str:
    """Return user and password as a service gets them in a header, which some answer with; empty if there are none."""
    userinfo, at, _ = rest.partition("/")[0].rpartition("@")
    return b64encode(unquote(userinfo).encode(errors="replace")).decode().rstrip("=") if at else ""
