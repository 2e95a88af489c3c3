"""Database URLs: made from a file name, and shown without their password.

Does not import SQLAlchemy, as all settings import this module.
"""

import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pydantic import Secret

_PASSWORD = re.compile(r"^([^:/]*://[^:/]*:).+@", re.DOTALL)
"""The password as SQLAlchemy parses it, up to the last @; an @ inside it should have been %40, and is hidden too."""

_PASSWORD_OPTION = re.compile(r"([?&][^=&]*passw[^=&]*=)[^&]+", re.IGNORECASE)


class DatabaseUrl(Secret[str]):
    """A SQLAlchemy URL that is shown without its password."""

    @property
    def has_password(self) -> bool:
        """Whether the URL contains a password."""
        return self._display() != self.get_secret_value()

    def _display(self) -> str:
        return without_password(self.get_secret_value())


def without_password(url: str) -> str:
    """Return a URL with its passwords masked."""
    return _PASSWORD_OPTION.sub(r"\g<1>***", _PASSWORD.sub(r"\g<1>***@", url))


def sqlite_url(path: Path) -> str:
    """Return the SQLAlchemy URL of a SQLite file."""
    return f"sqlite:///{quote(str(path))}"


def postgresql_server(url: str) -> tuple[str, str, str] | None:
    """Return HOST:PORT, database and user of a PostgreSQL URL; None for another database."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgresql") or not parts.hostname:
        return None
    return (
        f"{parts.hostname}:{parts.port or 5432}",
        unquote(parts.path.removeprefix("/")),
        unquote(parts.username or ""),
    )
