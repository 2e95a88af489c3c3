"""The message about some problems: its text in the recipient's language, and the document for webhooks.

Invariants:
- Text of machines and people is on one line and printable, whatever they send, and mentions nobody: chat services
  notify everybody of `@everyone` wherever it is written. An admin may mention people in a template or a rule's title.
- The document has the fields of docs/alerting.md, in every language the same; fields are only added.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from notifier.domain.planner import NoticeItem
from notifier.domain.problem import NoticeKind, Problem
from notifier.rendering.catalogue import phrase, texts
from notifier.sending.outgoing import Outgoing, Tone
from runtime.durations import duration
from schemas.people.message_templates import BODY_MAX, DEFAULT_BODY, DEFAULT_TITLE, TITLE_MAX, render_template
from schemas.people.routing import Preferences
from schemas.people.services import DestinationError

DOCUMENT_VERSION: Final = 1
_NAMES_SHOWN: Final = 10
_MENTION: Final = re.compile(r"(?<![\w.+-])@(?=\S)|@(?=\**(?:everyone|here|channel|all)\b)")
"""The sign of a mention in chat services; that of a mail address or of `getty@tty1.service` is none."""

_OVER: Final = (NoticeKind.RECOVERY, NoticeKind.PAST)

log = logging.getLogger(__name__)


def alert_message(
    items: Sequence[NoticeItem],
    preferences: Preferences,
    templates: Mapping[str, tuple[str, str]],
    *,
    org: str,
    delivery: str,
    now: int,
) -> Outgoing:
    """Return the message about these items. `templates`: the organisation's own, by language."""
    fields = {
        "org": org,
        "count": len(items),
        "items": [item_fields(item, preferences) for item in items],
        "text": {name: value for name, value in texts(preferences.language).items() if isinstance(value, str)},
    }
    own_title, own_body = templates.get(preferences.language, ("", ""))
    title = _rendered(own_title, DEFAULT_TITLE, fields, org)
    body = _rendered(own_body, DEFAULT_BODY, fields, org).strip()[:BODY_MAX]
    data = {
        "version": DOCUMENT_VERSION,
        "delivery": delivery,
        "type": "alerts",
        "org": org,
        "sent_at": now,
        "title": _line(title),
        "text": body,
        "alerts": [document(item) for item in items],
    }
    return Outgoing(_line(title)[:TITLE_MAX], body, tone(items), delivery, data)


def trial_message(preferences: Preferences, *, org: str, name: str, delivery: str, now: int) -> Outgoing:
    """Return the message of a test."""
    said = texts(preferences.language)
    title, body = str(said["test_title"]), str(said["test_body"]).format(name=name)
    head = {"version": DOCUMENT_VERSION, "delivery": delivery, "type": "test", "org": org, "sent_at": now}
    return Outgoing(title, body, "info", delivery, {**head, "title": title, "text": body, "alerts": []})


def item_fields(item: NoticeItem, preferences: Preferences) -> dict[str, Any]:
    """Return the fields of an item that a template may use."""
    problem, said, language = item.problem, texts(preferences.language), preferences.language
    title = (
        said["incidents"].get(problem.rule, problem.rule) if problem.is_incident else phrase(language, problem.title)
    )
    return {
        "kind": said["kinds"]["withdrawn" if _is_withdrawn(item) else item.kind.value],
        "severity": said["severities"].get(problem.severity, problem.severity),
        "name": _quoted(_name(problem, said)),
        "machine": problem.machine,
        "hostname": _quoted(problem.hostname),
        "rule": problem.rule,
        "title": _line(str(title)),
        "detail": _quoted(phrase(language, problem.detail) if problem.detail else ", ".join(_names(problem))),
        "labels": {key: _quoted(value) for key, value in problem.labels.items()},
        "since": local_time(problem.since, preferences.zone),
        "until": "" if problem.until is None else local_time(problem.until, preferences.zone),
        "duration": "" if problem.until is None else duration((problem.until - problem.since) / 1000),
        "acknowledged_by": _quoted(problem.acknowledged_by),
    }


def document(item: NoticeItem) -> dict[str, Any]:
    """Return an item as webhooks get it."""
    problem = item.problem
    shown = ("key", "rule", "severity", "machine", "hostname", "title", "detail", "since", "until", "value", "unit")
    return {
        "kind": item.kind.value,
        **{name: getattr(problem, name) for name in shown},
        "labels": dict(problem.labels),
        "past": item.kind is NoticeKind.PAST,
        "withdrawn": problem.withdrawn,
        "acknowledged_by": problem.acknowledged_by,
        "machines": list(problem.machines),
        "machine_count": problem.machine_count,
    }


def tone(items: Sequence[NoticeItem]) -> Tone:
    """Return how services present a message: as a failure, a warning, or good news."""
    lasting = [item.problem.severity for item in items if item.kind not in _OVER]
    if lasting:
        return "failure" if "critical" in lasting else "warning"
    recovered = any(item.kind is NoticeKind.RECOVERY and not item.problem.withdrawn for item in items)
    return "success" if recovered else "info"


def local_time(at: int, zone: str) -> str:
    """Return a time (milliseconds) to the minute in a time zone, with the zone's abbreviation."""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %Z")


def _is_withdrawn(item: NoticeItem) -> bool:
    return item.kind is NoticeKind.RECOVERY and item.problem.withdrawn


def _rendered(own: str, default: str, fields: Mapping[str, Any], org: str) -> str:
    try:
        if own:
            return render_template(own, fields)
    except DestinationError as error:
        log.warning("the template of %s is not used: %s", org, error)
    return render_template(default, fields)


def _name(problem: Problem, said: Mapping[str, Any]) -> str:
    if problem.machine:
        return problem.machine
    place = problem.label or problem.org
    return f"{place}, {problem.machine_count} {said['machines']}" if problem.machine_count > 1 else place


def _names(problem: Problem) -> list[str]:
    more = ["…"] if problem.machine_count > _NAMES_SHOWN else []
    return [*problem.machines[:_NAMES_SHOWN], *more]


def _quoted(text: str) -> str:
    return _MENTION.sub("@\N{ZERO WIDTH SPACE}", _line(text))


def _line(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
