"""The secret of this machine, and whether the broker accepts it."""

from contextlib import closing

from agent.check import Examination, Finding, check
from agent.connection_record import read_connection
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Connected, Disconnected
from runtime.errors import SettingsError

_STEP_SECONDS = 0.2


@check(order=50)
def secret(examination: Examination) -> Finding:
    """Connect to the broker with the secret, unless the agent is connected with it."""
    settings = examination.settings
    try:
        password = settings.secret()
    except SettingsError as error:
        return Finding("secret", "problem", str(error), "Enrol this machine: dashfleet agent enrol.")
    name = f"{settings.org}.{settings.machine}"
    state = read_connection(settings.data)
    if state is not None and state.is_running and state.connected:
        return Finding("secret", "ok", f"the agent is connected as {name}")
    transport = Mqtt(
        settings.address,
        username=name,
        password=password,
        client_id=name,
        subscriptions=[],
        ca_file=settings.ca_file,
        backoff=Backoff(first_seconds=1.0, most_seconds=2.0),
    )
    problem, refused = "the broker did not answer", False
    with closing(transport):
        deadline = examination.clock.monotonic() + examination.timeout
        while examination.clock.monotonic() < deadline:
            for event in transport.receive(10, _STEP_SECONDS):
                if isinstance(event, Connected):
                    return Finding("secret", "ok", f"the broker accepts {name}")
                if isinstance(event, Disconnected):
                    problem, refused = event.reason, event.refused
            if refused:
                break
    advice = (
        "Enrol this machine again with a new token: delete its secret first, or return it to service in the dashboard."
        if refused
        else "See the checks of the port and the certificate."
    )
    return Finding("secret", "problem", problem, advice)
