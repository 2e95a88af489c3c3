"""The dialog that runs an action: form, confirmation, and the progress of each machine.

Invariants:
- The permission to act is checked again in every handler; that a button was shown proves nothing.
- A handler publishes in one go, without a Streamlit call in between that could stop it half-way, and only once.
- Machines are fixed by id when the dialog opens; changes of rows on the page behind it do not affect it.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.actions import form, plan_text, progress
from dashboard.i18n import external_texts, text
from dashboard.i18n.external_texts import translated_error
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps, last_good, system_status
from dashboard.page.dialog_steps import CONFIRMATION, FORM, DialogState
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import NotAllowedError
from dashboard.widgets import markup
from schemas.actions.action_catalogue import Offer, Target, list_offers
from schemas.actions.action_plan import DEFAULT_LIFETIME_SECONDS, ActionPlan, default_rollout
from schemas.actions.action_schema import ArgumentError, collect_arguments, common_fields
from schemas.contract.commands import Rollout
from schemas.database.queries.targets import find_targets

LIFETIMES: Final = (300, DEFAULT_LIFETIME_SECONDS, 86_400, 7 * 86_400)
"""Choices, in seconds, of how long a command is kept for an offline machine."""

_ROLLOUT: Final = ("canary", "per_minute", "stop")
_CANARY_MAX: Final = 1000
_PER_MINUTE_MAX: Final = 100_000
_REJECTING: Final = marked("These machines do not trust the signing key of this dashboard and will refuse: {names}.")


def request(
    context: PageContext, names: tuple[str, ...], *, action: str = "", arguments: Mapping[str, Any] | None = None
) -> None:
    """Have the dialog about these machines open with the next run of the whole page, if the user may act.

    With an action and its arguments it opens at the confirmation.
    """
    if not names or not context.may_act:
        return
    found = last_good.fresh(partial(find_targets, context.engine, context.org, names=names))
    if found is None:
        return  # the database is down, and the banner says so
    targets = tuple(found[name] for name in names if name in found)
    plan, problem = _prepared(targets, action, arguments or {}) if action else (None, "")
    dialog_steps.request(
        _("Run an action"),
        _draw,
        dismissible=True,
        step=FORM if plan is None else CONFIRMATION,
        problem=problem,
        targets=targets,
        plan=plan,
        prepared=plan is not None,
    )


def _prepared(targets: tuple[Target, ...], action: str, arguments: Mapping[str, Any]) -> tuple[ActionPlan | None, str]:
    """Plan an action that was chosen outside the dialog; return the plan, or the problem."""
    offer = next((offer for offer in list_offers(targets) if offer.name == action and not offer.missing), None)
    if offer is None:
        return None, ""
    try:
        return ActionPlan.of(targets, offer, arguments), ""
    except ArgumentError as error:
        return None, translated_error(error)


def _draw(context: PageContext, state: DialogState) -> None:
    if not state.about["targets"]:
        st.html(markup.note(_("None of these machines exists any more.")))
    elif state.step == CONFIRMATION:
        _confirmation(context, state, state.about["plan"])
    else:
        _form(context, state, state.about["targets"])


def _form(context: PageContext, state: DialogState, targets: tuple[Target, ...]) -> None:
    st.html(markup.heading(text.machines(len(targets)), 3))
    _machines(targets)
    offers = list_offers(targets)
    offered, others = [offer for offer in offers if not offer.missing], plan_text.not_offered(offers)
    if not offered:
        st.html(markup.banner(_("No action is allowed by all of these machines.")))
        st.html(markup.lines(others))
        return
    offer: Offer | None = st.selectbox(
        _("Action"),
        offered,
        index=None,
        format_func=lambda each: external_texts.translated(each.title),
        placeholder=_("Select an action"),
        key=state.key("action"),
    )
    if others:
        with st.expander(_("Not available: {n}", n=text.count(len(others)))):
            st.html(markup.lines(others))
    if offer is None:
        return
    form.draw(common_fields(offer.schemas), state, offer.name)
    st.selectbox(
        _("Offline machines: keep the command for"),
        LIFETIMES,
        index=LIFETIMES.index(DEFAULT_LIFETIME_SECONDS),
        format_func=text.period,
        key=state.key("lifetime"),
    )
    if len(targets) > 1:
        _rollout(state, offer, len(targets))
    blocked = _blocked(context, state)
    dialog_steps.buttons(state, "" if blocked else _("Continue"), partial(_continue, state, targets))


def _machines(targets: tuple[Target, ...]) -> None:
    st.html(markup.targets(plan_text.groups(targets), _("Machines")))


def _rollout(state: DialogState, offer: Offer, machines: int) -> None:
    """Draw the inputs of the pace; each action has its own, as their defaults depend on it."""
    usual, most = default_rollout(offer.name, machines), min(_CANARY_MAX, machines - 1)
    with st.expander(_("Rolling rollout"), expanded=usual != Rollout()):
        canary, per_minute, stop = (_rollout_key(state, offer, name) for name in _ROLLOUT)
        st.number_input(_("Canary machines"), 0, most, usual.canary, help=_("0: none"), key=canary)
        rate, all_at_once = usual.per_minute or 0, _("0: all at once")
        st.number_input(_("Then machines per minute"), 0, _PER_MINUTE_MAX, rate, help=all_at_once, key=per_minute)
        st.number_input(_("Stop if failures exceed (%)"), 0, 100, int(usual.stop_percent), key=stop)
        st.html(markup.note(plan_text.pace(_chosen_rollout(state, offer) or usual)))


def _rollout_key(state: DialogState, offer: Offer, name: str) -> str:
    return state.key(f"{name}.{offer.name}")


def _chosen_rollout(state: DialogState, offer: Offer) -> Rollout | None:
    """Return the pace that the form holds, None if it has no inputs for it."""
    canary, per_minute, stop = (st.session_state.get(_rollout_key(state, offer, name)) for name in _ROLLOUT)
    if canary is None and per_minute is None and stop is None:
        return None
    return Rollout(canary=canary or 0, per_minute=per_minute or None, stop_percent=100.0 if stop is None else stop)


def _blocked(context: PageContext, state: DialogState) -> bool:
    """Return True, and draw the reason and a button that checks again, if nothing can be sent now."""
    why = system_status.obstacle(context)
    if why:
        st.html(markup.banner(why))
        st.button(_("Check again"), key=state.button_key("again"))
    return bool(why)


def _continue(state: DialogState, targets: tuple[Target, ...]) -> None:
    """Plan what the form holds now: its values when it was drawn may be older than the last keystroke."""
    offer: Offer | None = state.value("action")
    if offer is None:
        return
    fields, lifetime = common_fields(offer.schemas), state.value("lifetime") or DEFAULT_LIFETIME_SECONDS
    rollout = _chosen_rollout(state, offer)
    try:
        arguments = collect_arguments(fields, form.read(fields, state, offer.name))
        plan = ActionPlan.of(targets, offer, arguments, lifetime_seconds=lifetime, rollout=rollout)
    except ArgumentError as error:
        sentence = translated_error(error)
        if error.argument in {field.name for field in fields}:
            state.refuse(faults={form.input_name(offer.name, error.argument): sentence})
        else:
            state.refuse(sentence)
        return
    state.about["plan"] = plan
    state.go(CONFIRMATION)


def _confirmation(context: PageContext, state: DialogState, plan: ActionPlan) -> None:
    title = plan_text.title(plan.title, len(plan.targets))
    st.html(markup.heading(title, 3))
    if plan.is_dangerous:
        st.html(markup.banner(plan_text.danger(plan), "bad"))
    _machines(plan.targets)
    st.html(markup.facts(plan_text.facts(plan)))
    _warn_of_rejections(context, plan)
    confirmed = not plan.is_typed or dialog_steps.confirmation_input(state, plan.confirmation)
    blocked = _blocked(context, state)
    send = partial(_send, context, state, plan)
    back, disabled = not state.about["prepared"], blocked or not confirmed
    dialog_steps.buttons(state, title, send, back=back, disabled=disabled, dangerous=plan.is_dangerous)


def _warn_of_rejections(context: PageContext, plan: ActionPlan) -> None:
    try:
        key = context.publisher.key(context.org) if context.publisher else ""
    except NotAllowedError:
        return  # sending says so
    rejecting = plan.rejecting(key)
    if rejecting:
        st.html(markup.banner(_(_REJECTING, names=text.listed(rejecting))))


def _send(context: PageContext, state: DialogState, plan: ActionPlan) -> None:
    if state.step != CONFIRMATION or state.outcome is not None or context.publisher is None:
        return
    if plan.is_typed and not dialog_steps.is_confirmed(state, plan.confirmation):
        return
    if system_status.obstacle(context):
        return  # the confirmation says why
    try:
        sent = context.publisher.act(
            context.org,
            dict.fromkeys(plan.names, plan.arguments),
            plan.action,
            role=context.role,
            actor=context.user,
            lifetime_seconds=plan.lifetime_seconds,
            rollout=plan.rollout,
        )
    except NotAllowedError as error:
        state.refuse(str(error))
        return
    state.finish(partial(progress.draw, sent, plan_text.title(plan.title, len(plan.targets))))
