"""Transfer of a file to a machine over its connection: the machine requests chunks, the server answers each request.

A file is identified by its SHA-256, so its content never changes and a transfer can be continued at any byte, also
after a restart. The machine compares the hash before it uses the file.

Invariants:
- A machine has one request open. Without an answer it requests again, from where it is.
- A request never says where a file is: the server looks for a file with this hash among those meant for the machine.
- A message of either kind has at most 128 KiB.
"""

import base64
import binascii
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import to_json

from schemas.contract.messages import Count, Payload
from schemas.contract.text import Text

CHUNK_MAX_BYTES = 90 << 10
"""Bytes of the file in one chunk; as text, and with the other fields, less than 128 KiB."""

FILE_MAX_BYTES = 256 << 20
"""Size of the largest file that is transferred."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Fetch(Payload):
    """Request of a machine for a part of a file, on `up/fetch`: at most `length` bytes from `offset`."""

    sha256: Sha256
    offset: Annotated[int, Field(ge=0, le=FILE_MAX_BYTES)] = 0
    length: Annotated[int, Field(ge=1, le=CHUNK_MAX_BYTES)] = CHUNK_MAX_BYTES


class Chunk(Payload):
    """Part of a file, on `down/chunk`: the answer to a Fetch, or why there is none.

    `size` is that of the whole file in bytes, null if it is refused. `data` are the bytes from `offset` in Base64
    (RFC 4648, section 4). `refused` is a code: `unknown` if there is no file with this hash for the machine, `error` if
    the server could not read it; `detail` is a sentence for people.
    """

    sha256: Sha256
    offset: Count = 0
    size: Count | None = None
    data: Annotated[str, Field(max_length=CHUNK_MAX_BYTES // 3 * 4)] = ""
    refused: Literal["", "unknown", "error"] = ""
    detail: Text = ""

    @classmethod
    def encode_part(cls, sha256: str, offset: int, size: int, content: bytes) -> bytes:
        """Return the payload of a valid part, made without the model, which would decode the bytes again."""
        data = base64.b64encode(content).decode()
        return to_json({"v": 1, "sha256": sha256, "offset": offset, "size": size, "data": data})

    @property
    def content(self) -> bytes:
        """The bytes."""
        return base64.b64decode(self.data)

    @model_validator(mode="after")
    def _has_bytes_of_the_file_or_a_reason(self) -> Self:
        try:
            length = len(base64.b64decode(self.data, validate=True))
        except binascii.Error:
            raise ValueError("data is not Base64") from None
        if (self.size is None) != bool(self.refused) or (self.size is not None and self.offset + length > self.size):
            raise ValueError("a chunk has bytes within the size of the file, or a reason")
        return self
