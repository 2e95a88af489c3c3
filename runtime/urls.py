"""The databases' URLs: how one of a file is made, and how one with a password is kept from sight.

Without SQLAlchemy, as everything that reads settings imports this.
"""

import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pydantic import Secret

_PASSWORD = re.compile(r"^([^:/]*://[^:/]*:).+@", re.DOTALL)
"""What SQLAlchemy takes for a password, up to the last @: one inside it should have been %40, and is hidden too."""

_PASSWORD_OPTION = re.compile(r"([?&][^=&]*passw[^=&]*=)[^&]+", re.IGNORECASE)


class DatabaseUrl(Secret[str]):
    """A SQLAlchemy URL. Its password shows nowhere; what else it says does."""

    @property
    def has_password(self) -> bool:
        """Whether there is something to hide."""
        return self._display() != self.get_secret_value()

    def _display(self) -> str:
        return without_password(self.get_secret_value())


def without_password(url: str) -> str:
    """A URL that may be shown."""
    return _PASSWORD_OPTION.sub(r"\g<1>***", _PASSWORD.sub(r"\g<1>***@", url))


def sqlite_url(path: Path) -> str:
    """The SQLAlchemy URL of a SQLite file."""
    return f"sqlite:///{quote(str(path))}"


def postgresql_server(url: str) -> tuple[str, str, str] | None:
    """HOST:PORT, the database and the user of a PostgreSQL URL; None for another database."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgresql") or not parts.hostname:
        return None
    return (
        f"{parts.hostname}:{parts.port or 5432}",
        unquote(parts.path.removeprefix("/")),
        unquote(parts.username or ""),
    )
