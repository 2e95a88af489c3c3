"""A message as services get it, and the error of one that was not accepted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Tone = Literal["failure", "warning", "success", "info"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message as services get it. `data` is the content for programs; `delivery` is the same at each attempt."""

    title: str
    body: str
    tone: Tone
    delivery: str
    data: Mapping[str, Any] = field(default_factory=dict)
    attachment: Path | None = None


class SendingError(Exception):
    """The service did not accept the message. `permanent`: it will not accept it later either."""

    def __init__(self, reason: str, *, answer: str = "", permanent: bool = False) -> None:
        super().__init__(reason)
        self.answer = answer
        self.permanent = permanent
