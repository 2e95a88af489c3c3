"""Transfer of files over the connection of a machine: it requests chunks, or sends parts that an order pulls.

A file is identified by its SHA-256, so its content never changes and a transfer can be continued at any byte, also
after a restart. Who receives a file compares the hash before the file is used.

Invariants:
- A machine has one request or part open. Without an answer it sends again, from where the receiver is.
- A request never says where a file is: the server looks for a file with this hash among those meant for the machine.
- A part belongs to an order: the server takes no file that no operator has pulled.
- A message of any kind has at most 128 KiB.
"""

import base64
import binascii
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import to_json

from schemas.contract.messages import Count, Payload, RandomId
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
        length = _length(self.data)
        if (self.size is None) != bool(self.refused) or (self.size is not None and self.offset + length > self.size):
            raise ValueError("a chunk has bytes within the size of the file, or a reason")
        return self


class Upload(Payload):
    """Part of a file that an order pulls, on `up/upload`. Without `data` it asks how much of the file the server has.

    `order` is the id of the order, `size` are the bytes of the whole file, `data` those from `offset` in Base64.
    """

    order: RandomId
    sha256: Sha256
    size: Annotated[int, Field(ge=0, le=FILE_MAX_BYTES)]
    offset: Count = 0
    data: Annotated[str, Field(max_length=CHUNK_MAX_BYTES // 3 * 4)] = ""

    @property
    def content(self) -> bytes:
        """The bytes."""
        return base64.b64decode(self.data)

    @model_validator(mode="after")
    def _has_bytes_of_the_file(self) -> Self:
        if self.offset + _length(self.data) > self.size:
            raise ValueError("a part has bytes within the size of the file")
        return self


class Receipt(Payload):
    """Answer to an Upload, on `down/receipt`: how many bytes the server has, or why it takes no more.

    The next part begins at `offset`. `stored`: the file is whole and has the expected hash. `refused` is a code:
    `unknown` if no such order of an operator is running, `limit` if the file or all files exceed a limit, `error` if
    the server could not store it or it has another hash; `detail` is a sentence for people.
    """

    order: RandomId
    sha256: Sha256
    offset: Count = 0
    stored: bool = False
    refused: Literal["", "unknown", "limit", "error"] = ""
    detail: Text = ""


def _length(data: str) -> int:
    """Return the number of bytes of a text in Base64. Raises ValueError."""
    try:
        return len(base64.b64decode(data, validate=True))
    except binascii.Error:
        raise ValueError("data is not Base64") from None
