"""How a machine should be configured, how it says it is, and another wish: interval, labels, collectors.

Invariant: a `configure` says a whole configuration; what somebody does not touch stays as it was wished for, or its
owner's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import streamlit as st
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Row

from dashboard.actions import dialog
from dashboard.changes import change_dialog
from dashboard.changes.change_dialog import Draft
from dashboard.i18n import text
from dashboard.i18n.language import _, marked, pgettext
from dashboard.i18n.shared_words import retold
from dashboard.i18n.text import Word
from dashboard.page import refresh
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from runtime.durations import seconds, written
from schemas.contract.action_catalogue import actions
from schemas.contract.commands import Desired, Order
from schemas.contract.messages import Labels
from schemas.database.queries import settings

CONFIGURE: Final = "configure"
_LABELS: Final[TypeAdapter[dict[str, str]]] = TypeAdapter(Labels)
_HEADS: Final = (marked("Setting"), marked("Desired"), marked("Reported"), marked("Difference"))
_OWNERS: Final = marked("as its owner has set it")
_NOT_ALLOWED: Final = marked("This machine's owner does not let it be configured from here.")
_NOT_HEARD: Final = marked("It has not been heard yet, and has not said what it allows.")
_WAITS: Final = marked("A configuration is on its way to it: see its last commands.")
_HOW: Final = marked("A line for each label, such as site=paris.")
_BAD_LABELS: Final = marked(
    "Labels are lines such as site=paris, 32 at most: the name in lower-case letters, digits and hyphens, "
    "the value of 63 characters at most."
)
_SAME: Final = marked("Nothing is different from what it has.")


@dataclass(frozen=True, slots=True)
class Wish:
    """A configuration that somebody wished for. None: as the machine's owner has set it."""

    interval_seconds: float | None = None
    labels: Mapping[str, str] | None = None
    collectors_off: tuple[str, ...] = ()

    @classmethod
    def of(cls, desired: Any) -> "Wish":  # noqa: ANN401 - JSON of the database
        """What is stored as desired; nothing when that is nothing, or cannot be read."""
        try:
            order = Order.model_validate_json(Desired.model_validate(desired).order.statement)
            given = order.arguments
            labels = None if given.get("labels") is None else _LABELS.validate_python(given["labels"])
            interval = given.get("interval_seconds")
            off = given.get("collectors_off")
        except ValidationError:
            return cls()
        return cls(
            float(interval) if isinstance(interval, int | float) else None,
            labels,
            tuple(str(each) for each in off) if isinstance(off, list) else (),
        )

    def arguments(self) -> dict[str, Any]:
        """As `configure` takes it."""
        found: dict[str, Any] = {"collectors_off": list(self.collectors_off)} if self.collectors_off else {}
        if self.interval_seconds is not None:
            found["interval_seconds"] = self.interval_seconds
        if self.labels is not None:
            found["labels"] = dict(self.labels)
        return found


def reported(row: Row[Any]) -> Wish:
    """What a machine says of itself."""
    info: Mapping[str, Any] = row.info or {}
    interval = info.get("interval_seconds") or row.interval_seconds
    return Wish(interval, dict(row.labels or {}), tuple(info.get("collectors_off") or ()))


def compared(wish: Wish, found: Wish) -> list[tuple[str, str, str, Word]]:
    """Each setting: its name, what is wished for, what is reported, and whether that differs."""
    return [
        _line(_("Interval"), text.duration, wish.interval_seconds, found.interval_seconds),
        _line(_("Labels"), _labels_shown, wish.labels, found.labels),
        _line(_("Collectors off"), _names_shown, wish.collectors_off or None, found.collectors_off),
    ]


def _line(name: str, shown: Any, wished: Any, found: Any) -> tuple[str, str, str, Word]:  # noqa: ANN401
    if wished is None:
        return name, _(_OWNERS), shown(found), Word(_("none"), "plain")
    word = Word(pgettext("difference", "none"), "good") if wished == found else Word(_("differs"), "fair")
    return name, shown(wished), shown(found), word


def _labels_shown(labels: Mapping[str, str]) -> str:
    return ", ".join(text.labels(labels)) or text.UNKNOWN


def _names_shown(names: tuple[str, ...]) -> str:
    return ", ".join(names) or text.UNKNOWN


def draw(context: PageContext, row: Row[Any]) -> None:
    """Draw what is desired and reported, and the way to change it."""
    read = partial(settings.desired, context.engine, context.org, row.name)
    stored = refresh.read(context, f"desired.{row.name}", read)
    if stored is None:
        return
    found = reported(row)
    wish = Wish.of(stored.desired)
    st.html(markup.comparison([_(head) for head in _HEADS], compared(wish, found)))
    if stored.waiting:
        st.html(markup.note(_(_WAITS)))
    if not context.may_act:
        return
    why = _obstacle(context, row)
    if why:
        st.html(markup.note(why))
    st.button(
        _("Configure …"),
        key="machine.configure",
        disabled=bool(why),
        on_click=partial(
            change_dialog.ask,
            _("Configure {machine}", machine=row.name),
            _form,
            machine=row.name,
            wish=wish,
            found=found,
            collectors=_collectors(row, wish),
        ),
    )


def _obstacle(context: PageContext, row: Row[Any]) -> str:
    """Why it cannot be configured now; empty when it can."""
    if row.info is None:
        return _(_NOT_HEARD)
    allowed = CONFIGURE in actions(row.info.get("actions"))
    return refresh.obstacle(context) if allowed else _(_NOT_ALLOWED)


def _collectors(row: Row[Any], wish: Wish) -> list[str]:
    info: Mapping[str, Any] = row.info or {}
    return sorted({*(info.get("collectors") or ()), *(info.get("collectors_off") or ()), *wish.collectors_off})


def _form(_context: PageContext, draft: Draft) -> None:
    wish, found = draft.about["wish"], draft.about["found"]
    interval = wish.interval_seconds if wish.interval_seconds is not None else found.interval_seconds
    labels = wish.labels if wish.labels is not None else found.labels
    lines = "\n".join(f"{name}={value}" for name, value in sorted(labels.items()))
    owners = st.checkbox(_("Everything as its owner has set it"), key=draft.key("owners"))
    st.text_input(_("A sample every"), written(interval or 0), max_chars=20, key=draft.key("interval"), disabled=owners)
    st.text_area(_("Labels"), lines, help=_(_HOW), height=120, key=draft.key("labels"), disabled=owners)
    st.multiselect(
        _("Collectors that are switched off"),
        draft.about["collectors"],
        default=[each for each in wish.collectors_off or found.collectors_off if each in draft.about["collectors"]],
        placeholder=_("None"),
        key=draft.key("off"),
        disabled=owners,
    )
    change_dialog.buttons(draft, _("Continue"), partial(_continue, draft))


def _continue(draft: Draft) -> None:
    """On to the confirmation, which is that of every action."""
    before, found = draft.about["wish"], draft.about["found"]
    try:
        wish = Wish() if draft.value("owners") else _written(draft, before, found)
    except ValueError as error:
        draft.problem = retold(error)
        return
    if wish == before:
        draft.problem = _(_SAME)
        return
    change_dialog.leave()
    dialog.ask((str(draft.about["machine"]),), action=CONFIGURE, arguments=wish.arguments())


def _written(draft: Draft, before: Wish, found: Wish) -> Wish:
    """What the form holds. What is as it is reported, and was not wished for, stays the owner's. Raises ValueError."""
    given = str(draft.value("interval") or "")
    interval = seconds(given) if given.strip() else None
    labels: Mapping[str, str] | None = read_labels(str(draft.value("labels") or ""))
    if before.interval_seconds is None and interval == found.interval_seconds:
        interval = None
    if before.labels is None and labels == found.labels:
        labels = None
    return Wish(interval, labels, tuple(draft.value("off") or ()))


def read_labels(given: str) -> dict[str, str]:
    """The labels that somebody wrote, a line each. Raises ValueError with a sentence."""
    pairs = [line.partition("=") for line in given.splitlines() if line.strip()]
    labels = {name.strip(): value.strip() for name, equals, value in pairs if equals}
    try:
        if len(labels) != len(pairs):
            raise ValueError
        return _LABELS.validate_python(labels)
    except ValueError:
        raise ValueError(_(_BAD_LABELS)) from None
