"""The objects of a dashboard process that its pages share.

Streamlit passes a script nothing but plain values, so the process registers its services under a name, and passes that.
"""

from dataclasses import dataclass
from typing import Final

import streamlit as st
from sqlalchemy import Engine

from dashboard.api.tokens import ApiTokens
from dashboard.auth.user_administration import UserAdministration
from dashboard.destinations.notification_centre import NotificationCentre
from dashboard.page.install_command import BrokerAddress
from dashboard.publishing.publisher import Publisher
from runtime.clock import Clock

SECRETS: Final = "dashfleet"
"""The section of `st.secrets` that holds the name."""


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one process. `engine` is read-only."""

    engine: Engine
    clock: Clock
    publisher: Publisher
    users: UserAdministration
    api_tokens: ApiTokens
    notifications: NotificationCentre | None
    broker: BrokerAddress
    refresh_seconds: float
    chart_samples_max: int


REGISTERED: Final[dict[str, Services]] = {}
"""The services of this process, by a name that only this process uses."""


def current() -> Services | None:
    """Return the services of the process that runs this script; None while it stops."""
    return REGISTERED.get(str(st.secrets[SECRETS]["process"]))
