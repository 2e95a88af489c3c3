"""Tabs below the charts: inventory, configuration, alert rules, the account of the samples, and decommissioning."""

from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.i18n.language import _, ngettext
from dashboard.machine import configuration, decommission, facts
from dashboard.page import last_good
from dashboard.page.page import PageContext
from dashboard.rules import applying
from dashboard.widgets import markup
from schemas.database.queries import machines
from schemas.database.queries.dead_letters import count_dead_letters
from schemas.fleet.ledger import Ledger

_REJECTED: Final = "rejected"


def draw(context: PageContext, row: Row[Any]) -> None:
    """Draw the tabs; only those who may act see the last one."""
    titles = [_("Inventory"), _("Configuration"), _("Alert rules"), _("Samples")]
    titles += [_("Decommission")] if context.may_act else []
    inventory, config, rules, samples, *rest = st.tabs(titles, key="machine_details_tabs", on_change="rerun")
    with inventory.container(key="card_inventory"):
        st.html(markup.facts(facts.inventory(row, context.now(), context.zone)))
    with config.container(key="card_configuration"):
        configuration.draw(context, row)
    with rules.container(key="card_rules"):
        applying.draw(context, row.name)
    with samples.container(key="card_ledger"):
        _ledger(context, row)
    for tab in rest:
        with tab.container(key="card_service"):
            decommission.draw(context, row)


def _ledger(context: PageContext, row: Row[Any]) -> None:
    read = partial(machines.read_ledgers, context.engine, machine_id=row.id)
    found = last_good.read(context, f"ledger.{row.name}", read)
    if found is not None:
        st.html(markup.facts(facts.ledger(found.get(row.id, Ledger()))))
    if _REJECTED in context.pages:
        number = last_good.read_org(context, f"rejected.{row.name}", count_dead_letters, row.name)
        if number:
            label = ngettext("{n} rejected message", "{n} rejected messages", number)
            st.page_link(context.pages[_REJECTED], label=label, query_params={"machine": row.name})
