"""Settings of the notifier."""

from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from runtime.settings.client import ClientSettings
from runtime.settings.part_settings import Seconds
from runtime.urls import DatabaseUrl


def _http_url(secret: SecretStr) -> SecretStr:
    parts = urlsplit(secret.get_secret_value())
    if secret.get_secret_value() and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("must look like https://example.org/ping")
    return secret


class NotifierSettings(ClientSettings):
    """Settings of the notifier, which sends messages about alerts."""

    part: ClassVar[str] = "notifier"

    database: DatabaseUrl = Field(description="SQLAlchemy URL of the fleet database, opened read-only")
    auth_database: DatabaseUrl = Field(description="SQLAlchemy URL of the database of users and their destinations")
    key_file: Path = Field(description="File with mode 0600 of the key that encrypts the URLs of destinations")
    allow_private: bool = Field(
        False, description="Allow destinations at private and loopback addresses, in every organisation"
    )
    heartbeat_url: Annotated[SecretStr, AfterValidator(_http_url)] = Field(
        SecretStr(""),
        description="URL to call while ingestor, database and notifier work; off if empty",
    )
    heartbeat_seconds: Seconds = Field(60.0, description="Time between two calls of heartbeat_url")
