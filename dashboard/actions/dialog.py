"""The dialog in which somebody acts: what, with which arguments, yes, and then how each machine gets on.

Invariants:
- Who may act is asked of the session again in every handler; that a button was shown proves nothing.
- A handler publishes in one go, with nothing of Streamlit's in between that could stop it half-way.
- It keeps what it is about in a draft of its own, so that refreshes behind it change nothing.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.actions import draft as action_draft
from dashboard.actions import form, progress
from dashboard.actions.draft import CONFIRM, FORM, LIFETIMES, SENT, ActionDraft
from dashboard.i18n import external_texts, text
from dashboard.i18n.external_texts import translated_error
from dashboard.i18n.language import _, marked
from dashboard.page import last_good, system_status
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import NotAllowedError
from dashboard.widgets import markup, theme
from schemas.contract.action_catalogue import Offer
from schemas.contract.action_plan import DEFAULT_LIFETIME_SECONDS, ActionPlan
from schemas.contract.action_schema import ArgumentError, collect_arguments, common_fields
from schemas.contract.commands import Rollout
from schemas.database.queries.targets import find_targets

_DRAFT: Final = "act.draft"
_OPENING: Final = "act.opening"
_NUMBER: Final = "act.number"
_GONE: Final = marked("None of these machines is there any more.")
_NOTHING_OFFERED: Final = marked("There is no action that all of these machines allow.")
_REJECTING: Final = marked("These machines do not obey the key that signs here, and will refuse: {names}.")


def ask(names: tuple[str, ...], *, action: str = "", arguments: Mapping[str, Any] | None = None) -> None:
    """Have the dialog about these machines open with the next run of the whole page.

    With an action and its arguments it begins with the confirmation.
    """
    st.session_state[_OPENING] = (names, action, dict(arguments or {}))


def asked() -> bool:
    """Whether the dialog is to open; a fragment that finds so must have the whole page run."""
    return _OPENING in st.session_state


def open_if_asked(context: PageContext) -> None:
    """Open the dialog, when somebody asked for it and may."""
    names, action, arguments = st.session_state.pop(_OPENING, ((), "", {}))
    if not names or not context.may_act:
        return
    number = st.session_state[_NUMBER] = st.session_state.get(_NUMBER, 0) + 1
    found = last_good.fresh(partial(find_targets, context.engine, context.org, names=names))
    if found is None:
        return  # the database is away, and the banner says so
    draft = st.session_state[_DRAFT] = ActionDraft(tuple(found[name] for name in names if name in found), number)
    if action:
        draft.begin_with(action, arguments)
    st.dialog(_("Act on machines"), width="medium")(_dialog)(context)


def _dialog(context: PageContext) -> None:
    draft: ActionDraft = st.session_state[_DRAFT]
    st.html(theme.dialog_style(st.context.theme.type))
    if not draft.targets:
        st.html(markup.note(_(_GONE)))
    elif draft.phase == SENT:
        progress.draw(context, draft)
    elif draft.phase == CONFIRM and draft.plan is not None:
        _confirmation(context, draft, draft.plan)
    else:
        _form(context, draft)


def _form(context: PageContext, draft: ActionDraft) -> None:
    st.html(markup.heading(text.machines(len(draft.targets)), 3))
    _who(draft)
    offered = draft.offered
    if not offered:
        st.html(markup.banner(_(_NOTHING_OFFERED)))
        st.html(markup.lines(draft.not_offered))
        return
    offer: Offer | None = st.selectbox(
        _("Action"),
        offered,
        index=None,
        format_func=_title,
        placeholder=_("Choose what to do"),
        key=draft.key("action"),
    )
    if draft.not_offered:
        with st.expander(_("Not offered: {n}", n=text.count(len(draft.not_offered)))):
            st.html(markup.lines(draft.not_offered))
    if offer is None:
        return
    form.draw(common_fields(offer.schemas), prefix=draft.key(f"argument.{offer.name}"))
    st.selectbox(
        _("If a machine is away, it may still do it within"),
        LIFETIMES,
        index=LIFETIMES.index(DEFAULT_LIFETIME_SECONDS),
        format_func=text.period,
        key=draft.key("lifetime"),
    )
    if len(draft.targets) > 1:
        _one_after_another(draft)
    if draft.problem:
        st.html(markup.banner(draft.problem, "bad"))
    if not _stopped(context, draft):
        st.button(_("Continue"), type="primary", on_click=_continue, args=(draft,), key=draft.key("on"))


def _stopped(context: PageContext, draft: ActionDraft) -> bool:
    """Say why nothing can be sent now, and offer to look again, which draws the dialog anew. False when it can."""
    why = system_status.obstacle(context)
    if why:
        st.html(markup.banner(why))
        st.button(_("Check again"), key=draft.key("again"))
    return bool(why)


def _continue(draft: ActionDraft) -> None:
    """Take up what the form holds now: what it held when it was drawn may be older than the last keystroke."""
    state = st.session_state
    draft.kept = {str(key): value for key, value in state.items() if str(key).startswith(_written(draft))}
    offer: Offer | None = state.get(draft.key("action"))
    if offer is None:
        return
    fields = common_fields(offer.schemas)
    try:
        arguments = collect_arguments(fields, form.read(fields, prefix=draft.key(f"argument.{offer.name}")))
    except ArgumentError as error:
        draft.problem = translated_error(error)
        return
    rollout = Rollout(
        canary=state.get(draft.key("canary")) or 0,
        per_minute=state.get(draft.key("pace")) or None,
        stop_percent=float(state.get(draft.key("stop"), 100)),
    )
    lifetime = state.get(draft.key("lifetime"), DEFAULT_LIFETIME_SECONDS)
    draft.confirm(offer, arguments, lifetime_seconds=lifetime, rollout=rollout)


def _title(offer: Offer) -> str:
    return external_texts.translated(offer.title)


def _who(draft: ActionDraft) -> None:
    shown = [
        target.name if target.hostname == target.name else f"{target.name} ({target.hostname})"
        for target in draft.targets
    ]
    st.html(markup.names(shown, _("Machines")))
    away = [target for target in draft.targets if target.presence != "online"]
    if away:
        st.html(markup.note(_("Not online now: {machines}", machines=text.listed([target.name for target in away]))))


def _one_after_another(draft: ActionDraft) -> None:
    most = min(1000, len(draft.targets) - 1)
    with st.expander(_("One after another")):
        st.number_input(_("Try on so many first"), 0, most, 0, help=_("0: on none"), key=draft.key("canary"))
        st.number_input(_("Then so many a minute"), 0, 100_000, 0, help=_("0: all at once"), key=draft.key("pace"))
        st.number_input(_("Stop when more than so many percent did not succeed"), 0, 100, 100, key=draft.key("stop"))


def _confirmation(context: PageContext, draft: ActionDraft, plan: ActionPlan) -> None:
    st.html(markup.heading(draft.title, 3))
    _who(draft)
    st.html(markup.facts(action_draft.conditions(plan)))
    _warn_of_rejections(context, plan)
    if draft.problem:
        st.html(markup.banner(draft.problem, "bad"))
    typed = draft.word
    if draft.word:
        one = len(draft.targets) == 1
        word = markup.plain(draft.word)
        name, number = (
            _("To be sure, type its name: {word}", word=word),
            _("To be sure, type how many they are: {word}", word=word),
        )
        typed = st.text_input(name if one else number, key=draft.key("typed"), live="300ms")
    stopped = _stopped(context, draft)
    with st.container(horizontal=True):
        if not draft.prepared:
            st.button(_("Back"), on_click=partial(_back, draft), key=draft.key("back"))
        st.button(
            markup.plain(draft.title),
            type="primary",
            on_click=partial(_send, context, draft),
            disabled=stopped or typed != draft.word,
            key=draft.key("send"),
        )


def _warn_of_rejections(context: PageContext, plan: ActionPlan) -> None:
    try:
        key = context.publisher.key(context.org) if context.publisher else ""
    except NotAllowedError:
        return  # sending says so
    rejecting = plan.rejecting(key)
    if rejecting:
        st.html(markup.banner(_(_REJECTING, names=text.listed(rejecting))))


def _back(draft: ActionDraft) -> None:
    """Show the form as it was left. Said outright: the browser may have forgotten it, or not yet."""
    draft.phase, draft.problem = FORM, ""
    for key, value in draft.kept.items():
        st.session_state[key] = value


def _written(draft: ActionDraft) -> tuple[str, ...]:
    """How the names of the form's widgets begin, without its buttons."""
    return tuple(draft.key(name) for name in ("action", "argument.", "lifetime", "canary", "pace", "stop"))


def _send(context: PageContext, draft: ActionDraft) -> None:
    """Publish, once."""
    if draft.phase != CONFIRM or draft.plan is None or context.publisher is None:
        return
    if draft.word and st.session_state.get(draft.key("typed")) != draft.word:
        return
    if system_status.obstacle(context):
        return  # the confirmation says why
    try:
        draft.sent = context.publisher.act(
            context.org,
            dict.fromkeys(draft.plan.names, draft.plan.arguments),
            draft.plan.action,
            role=context.role,
            actor=context.user,
            lifetime_seconds=draft.plan.lifetime_seconds,
            rollout=draft.plan.rollout,
        )
    except NotAllowedError as error:
        draft.problem = str(error)
        return
    draft.phase = SENT
