"""A form made of an action's JSON Schema. The schema comes from a machine: its texts are shown as text, not markup."""

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard.i18n import external_texts
from dashboard.i18n.language import _
from dashboard.page.dialog_steps import DialogState, fault
from dashboard.widgets import markup
from schemas.actions.action_schema import ArgumentField
from schemas.contract.messages import INTEGER_MAX

_LONG_TEXT: Final = 120
_JSON: Final = '{"site": "paris"}'


def draw(fields: Sequence[ArgumentField], state: DialogState, action: str) -> None:
    """Draw a widget for each argument of an action, and below it what is wrong with it."""
    for field in fields:
        _widget(field, state.key(input_name(action, field.name)))
        fault(state, input_name(action, field.name))


def read(fields: Sequence[ArgumentField], state: DialogState, action: str) -> dict[str, Any]:
    """Return the present values of the widgets, by argument name."""
    return {field.name: state.value(input_name(action, field.name)) for field in fields}


def input_name(action: str, argument: str) -> str:
    """Return the name of the input of an argument; the inputs of different actions are different ones."""
    return f"argument.{action}.{argument}"


def _widget(field: ArgumentField, key: str) -> None:
    title = external_texts.translated(field.title)
    label = markup.plain(title if field.required else _("{argument} (optional)", argument=title))
    hint = markup.plain(external_texts.translated(field.description)) or None
    if field.choices:
        _choice(field, key, label, hint)
        return
    match field.kind:
        case "boolean":
            st.checkbox(label, value=field.default is True, key=key, help=hint)
        case "integer":
            _number(field, key, label, hint, kind=int)
        case "number":
            _number(field, key, label, hint, kind=float)
        case "string":
            _text(field, key, label, hint)
        case _:
            st.text_area(label, key=key, help=hint, placeholder=_("JSON, such as {example}", example=_JSON), height=80)


def _choice(field: ArgumentField, key: str, label: str, hint: str | None) -> None:
    chosen = field.choices.index(field.default) if field.default in field.choices else None
    if chosen is None and field.required and len(field.choices) == 1:
        chosen = 0
    st.selectbox(
        label, field.choices, index=chosen, key=key, help=hint, placeholder=_("Choose"), format_func=_choice_label
    )


def _choice_label(choice: object) -> str:
    return external_texts.translated(str(choice))


def _number(field: ArgumentField, key: str, label: str, hint: str | None, *, kind: type[int] | type[float]) -> None:
    least, most = _bounds(field, kind)
    known = isinstance(field.default, int | float) and not field.fault(field.default) and _is_safe(field.default)
    given: Any = {
        "value": kind(field.default) if known else None,
        "min_value": least,
        "max_value": most,
        "step": 1 if kind is int else None,
    }
    st.number_input(label, key=key, help=hint, **given)


def _bounds(field: ArgumentField, kind: type[int] | type[float]) -> tuple[float | None, float | None]:
    """Return the field's bounds, without those that a browser cannot represent or that contradict each other."""
    least, most = (
        kind(bound) if bound is not None and _is_safe(bound) else None for bound in (field.least, field.most)
    )
    return (None, None) if least is not None and most is not None and least > most else (least, most)


def _is_safe(number: float) -> bool:
    return abs(number) <= INTEGER_MAX


def _text(field: ArgumentField, key: str, label: str, hint: str | None) -> None:
    begin = field.default if isinstance(field.default, str) else ""
    if field.max_length is not None and field.max_length > _LONG_TEXT:
        st.text_area(label, begin, max_chars=field.max_length, key=key, help=hint, height=100)
    else:
        st.text_input(label, begin, max_chars=field.max_length or None, key=key, help=hint)
