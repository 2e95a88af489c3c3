"""Configuration of a machine: the desired values beside the reported ones, and the form that changes them.

Invariant: a `configure` order carries a whole configuration; a value that the user does not change stays as it was
desired before, or stays a local setting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import streamlit as st
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Row

from dashboard.actions import dialog
from dashboard.i18n import text
from dashboard.i18n.external_texts import translated_error
from dashboard.i18n.language import _, marked
from dashboard.i18n.text import Word
from dashboard.page import dialog_steps, last_good, system_status
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from runtime.durations import seconds, written
from runtime.sentences.validation_errors import FieldError
from schemas.actions.action_catalogue import read_actions
from schemas.contract.commands import Desired, Order
from schemas.contract.messages import Labels
from schemas.database.queries import settings

CONFIGURE: Final = "configure"
_LABELS: Final[TypeAdapter[dict[str, str]]] = TypeAdapter(Labels)
_NOT_ALLOWED: Final = marked("This machine does not allow remote configuration.")
_NOT_HEARD: Final = marked("This machine has not reported yet which actions it allows.")
_PENDING: Final = marked("A configuration command is pending: see Events.")
_BAD_LABELS: Final = marked(
    "Enter one label per line, such as site=paris, at most 32: names in lower-case letters, digits and hyphens, values "
    "of at most 63 characters."
)
_BAD_PROBES: Final = marked(
    "Enter one probe per line, each with a name of its own, such as shop https://shop.example.org/ contains=ready."
)


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """A configuration. None: a local setting, which is not managed from here."""

    interval_seconds: float | None = None
    labels: Mapping[str, str] | None = None
    collectors_off: tuple[str, ...] = ()
    probes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, desired: Any) -> "MachineConfig":  # noqa: ANN401 - JSON of the database
        """Return the desired configuration that is stored; an empty one if there is none, or it is invalid."""
        try:
            order = Order.model_validate_json(Desired.model_validate(desired).order.statement)
            given = order.arguments
            labels = None if given.get("labels") is None else _LABELS.validate_python(given["labels"])
            interval = given.get("interval_seconds")
            off, probes = given.get("collectors_off"), given.get("probes")
        except ValidationError:
            return cls()
        return cls(
            float(interval) if isinstance(interval, int | float) else None,
            labels,
            tuple(str(each) for each in off) if isinstance(off, list) else (),
            {str(name): str(line) for name, line in probes.items()} if isinstance(probes, dict) else {},
        )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the `configure` action."""
        found: dict[str, Any] = {"collectors_off": list(self.collectors_off)} if self.collectors_off else {}
        if self.interval_seconds is not None:
            found["interval_seconds"] = self.interval_seconds
        if self.labels is not None:
            found["labels"] = dict(self.labels)
        if self.probes:
            found["probes"] = dict(self.probes)
        return found


def reported(row: Row[Any]) -> MachineConfig:
    """Return the configuration that a machine reports."""
    info: Mapping[str, Any] = row.info or {}
    interval = info.get("interval_seconds") or row.interval_seconds
    return MachineConfig(interval, dict(row.labels or {}), tuple(info.get("collectors_off") or ()))


def compared(desired: MachineConfig, found: MachineConfig) -> list[tuple[str, str, str, Word]]:
    """Return each setting's name, desired value, reported value, and whether they differ."""
    rows = [
        _compared(_("Interval"), text.duration, desired.interval_seconds, found.interval_seconds),
        _compared(_("Labels"), _labels_shown, desired.labels, found.labels),
        _compared(_("Disabled collectors"), _names_shown, desired.collectors_off or None, found.collectors_off),
    ]
    if desired.probes:  # the machine states their results, not the configuration
        rows.append((_("Probes"), _names_shown(tuple(desired.probes)), text.UNKNOWN, Word(text.UNKNOWN, "plain")))
    return rows


def _compared(name: str, shown: Any, desired: Any, found: Any) -> tuple[str, str, str, Word]:  # noqa: ANN401
    if desired is None:
        return name, _("Local setting (not managed)"), shown(found), Word(text.UNKNOWN, "plain")
    word = Word(_("In sync"), "good") if desired == found else Word(_("Out of sync"), "fair")
    return name, shown(desired), shown(found), word


def _labels_shown(labels: Mapping[str, str]) -> str:
    return ", ".join(text.labels(labels)) or text.UNKNOWN


def _names_shown(names: tuple[str, ...]) -> str:
    return ", ".join(names) or text.UNKNOWN


def draw(context: PageContext, row: Row[Any]) -> None:
    """Draw the desired and the reported configuration, and the button that changes it."""
    read = partial(settings.read_desired, context.engine, context.org, row.name)
    stored = last_good.read(context, f"desired.{row.name}", read)
    if stored is None:
        return
    found, desired = reported(row), MachineConfig.of(stored.desired)
    heads = (_("Setting"), _("Desired"), _("Reported"), _("State"))
    st.html(markup.comparison(heads, compared(desired, found)))
    if stored.waiting:
        st.html(markup.note(_(_PENDING)))
    if not context.may_act:
        return
    why = _obstacle(context, row)
    if why:
        st.html(markup.note(why))
    form = partial(_form, str(row.name), desired, found, _collectors(row, desired))
    st.button(
        _("Configure …"),
        key="machine.configure",
        disabled=bool(why),
        on_click=partial(dialog_steps.request, _("Configure {machine}", machine=row.name), form),
    )


def _obstacle(context: PageContext, row: Row[Any]) -> str:
    if row.info is None:
        return _(_NOT_HEARD)
    allowed = CONFIGURE in read_actions(row.info.get("actions"))
    return system_status.obstacle(context) if allowed else _(_NOT_ALLOWED)


def _collectors(row: Row[Any], desired: MachineConfig) -> list[str]:
    info: Mapping[str, Any] = row.info or {}
    return sorted({*(info.get("collectors") or ()), *(info.get("collectors_off") or ()), *desired.collectors_off})


def _form(
    name: str,
    desired: MachineConfig,
    found: MachineConfig,
    collectors: list[str],
    context: PageContext,
    state: DialogState,
) -> None:
    interval = desired.interval_seconds if desired.interval_seconds is not None else found.interval_seconds
    labels = (desired.labels if desired.labels is not None else found.labels) or {}
    lines = "\n".join(f"{label}={value}" for label, value in sorted(labels.items()))
    local = st.checkbox(_("Use local settings only"), key=state.key("local"))
    shown = written(interval or 0)
    st.text_input(_("Sampling interval"), shown, max_chars=20, key=state.key("interval"), disabled=local)
    dialog_steps.fault(state, "interval")
    hint = _("One label per line, such as site=paris.")
    st.text_area(_("Labels"), lines, help=hint, height=120, key=state.key("labels"), disabled=local)
    dialog_steps.fault(state, "labels")
    targets = "\n".join(f"{name} {line}" for name, line in sorted(desired.probes.items()))
    hint = _("One probe per line: a name, a target that the machine's owner permits, and options.")
    st.text_area(
        _("Probes"),
        targets,
        help=hint,
        height=120,
        key=state.key("probes"),
        disabled=local,
        placeholder="shop https://shop.example.org/ contains=ready",
    )
    dialog_steps.fault(state, "probes")
    off = desired.collectors_off or found.collectors_off
    st.multiselect(
        _("Disabled collectors"),
        collectors,
        default=[each for each in off if each in collectors],
        placeholder=_("None"),
        key=state.key("off"),
        disabled=local,
    )
    dialog_steps.buttons(state, _("Continue"), partial(_continue, name, desired, found, context, state))


def _continue(
    name: str, desired: MachineConfig, found: MachineConfig, context: PageContext, state: DialogState
) -> None:
    """Go on to the confirmation of the action dialog."""
    try:
        config = MachineConfig() if state.value("local") else entered(state, desired, found)
    except FieldError as error:
        state.refuse(faults={error.field: translated_error(error)})
        return
    if config == desired:
        state.refuse(_("Nothing has changed."))
        return
    dialog_steps.leave()
    dialog.request(context, (name,), action=CONFIGURE, arguments=config.arguments())


def entered(state: DialogState, desired: MachineConfig, found: MachineConfig) -> MachineConfig:
    """Return the configuration in the form. Raises FieldError.

    A value that equals the reported one, and was not desired before, stays a local setting.
    """
    given = str(state.value("interval") or "")
    try:
        interval = seconds(given) if given.strip() else None
    except ValueError as error:
        raise FieldError("interval", error.args[0]) from None
    labels: Mapping[str, str] | None = read_labels(str(state.value("labels") or ""))
    if desired.interval_seconds is None and interval == found.interval_seconds:
        interval = None
    if desired.labels is None and labels == found.labels:
        labels = None
    probes = read_probes(str(state.value("probes") or ""))
    return MachineConfig(interval, labels, tuple(state.value("off") or ()), probes)


def read_probes(given: str) -> dict[str, str]:
    """Return the probes that were entered, one per line. Raises FieldError."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, given.splitlines())):
        name, _space, probe = line.partition(" ")
        if not probe.strip() or name in found:
            raise FieldError("probes", _(_BAD_PROBES))
        found[name] = probe.strip()
    return found


def read_labels(given: str) -> dict[str, str]:
    """Return the labels that were entered, one per line. Raises FieldError."""
    pairs = [line.partition("=") for line in given.splitlines() if line.strip()]
    labels = {name.strip(): value.strip() for name, equals, value in pairs if equals}
    try:
        if len(labels) != len(pairs):
            raise ValueError
        return _LABELS.validate_python(labels)
    except ValueError:
        raise FieldError("labels", _(_BAD_LABELS)) from None
