"""Strings with a meaning for careless renderers, and a machine that puts them into every field."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

from sites import now

from broker.client.mqtt import Mqtt
from broker.client.transport import Connected, Message
from runtime.settings.address import ServerAddress
from schemas.contract import topics
from schemas.contract.commands import CommandMessage, Result
from schemas.contract.messages import Info, Status, Telemetry, Vitals

CORPUS: Final[Mapping[str, Sequence[str]]] = {
    "html": (
        "<img src=x onerror=hacked(1)>",
        "<script>hacked(2)</script>",
        "</style></script><svg/onload=hacked(3)>",
        "\"'><iframe srcdoc='<script>parent.hacked(4)</script>'>",
        "<a href=javascript:hacked(5)>x</a>",
        "<style>*{display:none}</style>",
        "<meta http-equiv=refresh content='0;url=//evil.example'>",
        "<base href=//evil.example/>",
        "<!-- --!><b onmouseover=hacked(6)>b</b>",
        "&lt;b&gt; &#60;b&#62; &amp;amp;",
        "javascript:hacked(7)",
    ),
    "markup": (
        "![x](http://evil.example/x.png)",
        "[x](javascript:hacked(8))",
        "**b** _i_ `c` # h",
        ":red[c] :material/warning: :smile:",
        r"$\frac{a}{b}$ $$x$$",
        "| a | b |\n|---|---|\n| c | d |",
        "{0} {context} %s %(x)s ${hacked(9)} {{7*7}}",
        "```\n# h\n```\n- [ ] x",
        '=HYPERLINK("http://evil.example")',
        "@SUM(1+1)*cmd|' /C calc'!A0",
        '"); hacked(10); ("',
    ),
    "signs": (
        "\u202egnp.exe\u202c\u2066x",
        "e" + "\u0301\u0353\u0333" * 10,
        "\u200b\u200d\ufeff\u00ad",
        "\x1b[31mred\x1b[0m\x07\x08\r\n\tx",
        "\x00nul",
        "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f4\u200d\u2620\ufe0f",
        "\ufdfd\ufdfd\ufdfd",
        "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
        "a\u2028b\u2029c",
        "\U000e0041\ufff9\ufffe",
    ),
    "lengths": ("W" * 63, "i" * 63, "\ufdfd" * 63, "-" * 63, "a b " * 15, " ", "\u00a0" * 63),
}
"""By target: browsers, Markdown and templates, text rendering, layout."""

_OUTPUT: Final = 4096


class Impostor:
    """A machine that sends the strings of one group in every field."""

    def __init__(self, name: str, strings: Sequence[str], server: ServerAddress, secret: str) -> None:
        self.name, self.strings = name, strings
        self._own = {"org": "home", "machine": name}
        self._session = now()
        self._numbers = count(1)
        self._transport = Mqtt(
            server,
            username=f"home.{name}",
            password=secret,
            subscriptions=[(topics.COMMAND.at(**self._own), 1)],
        )

    def run(self, stopping: threading.Event) -> None:
        """Publish status and inventory, then a sample per second, and answer every order."""
        due = 0
        while not stopping.is_set():
            for event in self._transport.receive(100, 0.1):
                if isinstance(event, Connected):
                    self._publish(topics.STATUS, Status(state="online", session=self._session, at=now()).encode())
                    self._publish(topics.INFO, self._info().encode())
                elif isinstance(event, Message):
                    self._answer(CommandMessage.decode(event.payload))
            if self._transport.connected and now() >= due:
                due = now() + 1000
                self._publish(topics.TELEMETRY, self._telemetry().encode())
        self._transport.close()

    def _said(self, length: int) -> str:
        return "".join(self.strings)[:length]

    def _each(self, length: int) -> list[str]:
        return [string[:length] for string in self.strings]

    def _info(self) -> Info:
        facts = {name: self._said(256) for name in ("hostname", "os", "os_version", "architecture", "cpu_model")}
        facts |= {name: self._said(256) for name in ("agent_version", "python_version")}
        return Info.model_validate(
            {
                **facts,
                "session": self._session,
                "at": now(),
                "interval_seconds": 1.0,
                "labels": {f"label-{n}": text for n, text in enumerate(self._each(63))},
                "metrics": [
                    {"name": f"metric_{n}", "unit": text[:32], "title": text} for n, text in enumerate(self._each(64))
                ],
                "actions": [self._action(n, text) for n, text in enumerate(self._each(64))],
            }
        )

    def _action(self, number: int, title: str) -> dict[str, Any]:
        strings = self._each(200)
        told = {"title": self._said(200), "description": self._said(500)}
        properties: dict[str, Any] = {
            "text": {"type": "string", **told, "default": self._said(200)},
            "choice": {"type": "string", "enum": strings, "default": strings[0], **told},
            "flag": {"type": "boolean", **told},
            self._said(60): {"type": "integer", **told},
        }
        schema = {"type": "object", **told, "properties": properties}
        return {"name": f"action_{number}", "title": title, "arguments_schema": schema}

    def _telemetry(self) -> Telemetry:
        seq = next(self._numbers)
        return Telemetry(
            seq=seq,
            sampled_at=now(),
            vitals=Vitals(cpu_percent=97.0, memory_percent=91.0, disk_percent=99.0, uptime_seconds=2**40),
            extra={f"metric_{n}": (-1.0) ** n * 1e300 for n in range(len(self.strings))},
            session=self._session,
            stream=f"{self._session:016x}",
            oldest_seq=seq,
        )

    def _answer(self, command: CommandMessage) -> None:
        about = {"session": self._session, "id": json.loads(command.order.statement)["id"], "at": now()}
        self._publish(topics.RESULT, Result.model_validate({**about, "state": "running"}).encode())
        ending = {"reason": self._said(32), "detail": self._said(256), "output": (self._said(512) * 8)[:_OUTPUT]}
        final = Result.model_validate({**about, "state": "failed", "exit_code": 1, **ending})
        self._publish(topics.RESULT, final.encode())

    def _publish(self, topic: topics.Topic, payload: bytes) -> None:
        self._transport.publish(Message(topic.at(**self._own), payload, topic.qos, topic.retain))


@contextmanager
def impostors(server: ServerAddress, secrets: Mapping[str, str]) -> Iterator[None]:
    """Run one machine per group until the end of the block. `secrets`: by group, which is also the machine id."""
    stopping = threading.Event()
    machines = [Impostor(group, CORPUS[group], server, secret) for group, secret in secrets.items()]
    threads = [threading.Thread(target=each.run, args=(stopping,), name=each.name) for each in machines]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join(10)
