"""Uninterruptible power supplies, through Network UPS Tools (NUT)."""

import re
import socket
from pathlib import Path
from time import monotonic

from agent.collector import DetailCollector, Details, Item
from schemas.contract.facts import FactValue, Judgement
from schemas.contract.messages import Metric

CONFIGURATION = Path("/etc/nut/ups.conf")
ANSWER_SECONDS = 3.0
ANSWER_MAX_BYTES = 256 << 10
SUPPLIES_MAX = 16
_VARIABLE = re.compile(r'^VAR \S+ (\S+) "(.*)"$', re.MULTILINE)
_SUPPLY = re.compile(r"^UPS (\S+) ", re.MULTILINE)
_STATES = {"OL": "on line", "OB": "on battery", "LB": "battery low", "RB": "replace battery", "OVER": "overloaded"}


class PowerSupplies(DetailCollector):
    """Charge, load and remaining time of each power supply, and whether it runs on its battery.

    `upsd` is asked at 127.0.0.1:3493 if this machine has its configuration, or at the setting `nut_server`.
    """

    metrics = (
        Metric(name="ups_charge_percent", unit="percent", title="UPS charge", device="ups"),
        Metric(name="ups_load_percent", unit="percent", title="UPS load", device="ups"),
        Metric(name="ups_runtime_seconds", unit="seconds", title="UPS time left", device="ups"),
    )
    facts = ("ups",)
    timeout_seconds = 10.0
    needs = "Network UPS Tools"

    def present(self) -> bool:
        """Return True if there is an upsd to ask."""
        return bool(self.settings.nut_server) or CONFIGURATION.exists()

    def collect(self) -> Details:
        """Return the readings of all power supplies. Raises OSError if upsd does not answer."""
        host, _, port = (self.settings.nut_server or "127.0.0.1").partition(":")
        details = Details(facts={"ups": {}})
        with socket.create_connection((host, int(port or 3493)), timeout=ANSWER_SECONDS) as connection:
            names = _SUPPLY.findall(_ask(connection, "LIST UPS"))
            for name in names[:SUPPLIES_MAX]:
                _add(details, name, dict(_VARIABLE.findall(_ask(connection, f"LIST VAR {name}"))))
        details.truncated = max(0, len(names) - SUPPLIES_MAX)
        return details


def _ask(connection: socket.socket, question: str) -> str:
    """Return the answer to a LIST question, up to its END line. Raises OSError."""
    connection.sendall(f"{question}\n".encode())
    answer, end = bytearray(), f"END {question}\n".encode()
    deadline = monotonic() + ANSWER_SECONDS
    while not answer.endswith(end) and not answer.startswith(b"ERR "):
        connection.settimeout(max(0.001, deadline - monotonic()))
        part = connection.recv(16 << 10)
        answer += part
        if not part or len(answer) > ANSWER_MAX_BYTES:
            raise OSError("the answer of upsd has no end")
    return answer.decode(errors="replace")


def _add(details: Details, name: str, variables: dict[str, str]) -> None:
    readings = {
        "ups_charge_percent": _number(variables.get("battery.charge")),
        "ups_load_percent": _number(variables.get("ups.load")),
        "ups_runtime_seconds": _number(variables.get("battery.runtime")),
    }
    details.add(name, **{metric: value for metric, value in readings.items() if value is not None})
    flags = variables.get("ups.status", "").split()
    fields: dict[str, FactValue] = {
        "state": ", ".join(_STATES[flag] for flag in flags if flag in _STATES) or None,
        "model": variables.get("device.model") or variables.get("ups.model"),
    }
    health: Judgement = "unknown"
    if {"LB", "RB", "OVER", "ALARM", "FSD"} & set(flags):
        health = "critical"
    elif "OB" in flags:
        health = "fair"
    elif "OL" in flags:
        health = "good"
    details.facts["ups"][name] = Item({field: value for field, value in fields.items() if value is not None}, health)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
