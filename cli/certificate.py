"""A line about a certificate of the broker that needs renewal, for commands that show what needs care."""

import datetime
from pathlib import Path

from cli.output import note
from cli.settings import data_directory, effective


def note_certificates(data: Path | None, now: datetime.datetime) -> None:
    """Name on standard error each certificate, configured or made by `dashfleet tls`, that needs renewal."""
    from broker.tls.certificate_watch import WARNING_DAYS
    from broker.tls.listening import valid_until
    from runtime.settings.broker import BrokerSettings, MosquittoSettings, NatsSettings

    configured = (effective(kind, data).certificate for kind in (BrokerSettings, MosquittoSettings, NatsSettings))
    made = data_directory(data) / "tls" / "server.pem"
    for path in dict.fromkeys(path for path in (*configured, made) if path is not None):
        try:
            end = valid_until(path)
        except (OSError, ValueError):  # not on this host, or not readable by this user
            continue
        if (end - now).days < WARNING_DAYS:
            what = "expired" if end <= now else "expires"
            note(
                f"system: the broker's certificate in {path} {what} on {end:%Y-%m-%d}: renew it, for example with "
                "dashfleet tls --renew"
            )
