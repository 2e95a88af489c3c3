"""Sending of one message, by the kind of the URL: through Apprise, or as a signed webhook.

Invariants:
- Nothing a service does or answers raises anything but SendingError, except for defects of ours.
- Neither a result nor an error contains the URL's secrets.
"""

from typing import Final

from notifier.sending import webhook
from notifier.sending.network_guard import NetworkUse, guarded
from notifier.sending.outgoing import Outgoing, SendingError
from notifier.sending.redaction import redact
from schemas.people.services import WEBHOOK_SCHEMES, check_url

SECONDS_MAX: Final = 30.0
"""Time limit of one attempt."""


def send(url: str, message: Outgoing, *, allow_private: bool, secret: str = "", seconds: float = SECONDS_MAX) -> str:
    """Send a message and return the service's answer. `secret` signs webhooks. Raises SendingError, UserError."""
    scheme = check_url(url)
    with guarded(allow_private=allow_private, seconds=seconds) as use:
        try:
            if scheme in WEBHOOK_SCHEMES:
                webhook.post(url, message, secret)
            else:
                from notifier.sending import apprise_channel  # here: Apprise takes long to load

                apprise_channel.notify(url, message)
        except SendingError as error:
            reason = _reason(use, str(error))
            answer = redact(_last(use), url)
            permanent = error.permanent or (bool(use.refused) and not use.permitted)  # refused the next time as well
            raise SendingError(redact(reason, url), answer=answer, permanent=permanent) from None
        return redact(_last(use), url) or "accepted"


def _reason(use: NetworkUse, otherwise: str) -> str:
    if use.expired:
        return "the service took too long"
    return use.refused or otherwise


def _last(use: NetworkUse) -> str:
    """Return the last answer that says something: not the one to the end of an SMTP session."""
    said = [each for each in use.answers if not each.startswith("221 ")]
    return said[-1] if said else ""
