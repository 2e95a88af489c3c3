"""The people's database, opened for notifications. The tables of users are the dashboard's (`dashboard.auth`)."""

import os
from pathlib import Path

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import DBAPIError

from schemas.database.engine import DatabaseError, open_engine, shown_url
from schemas.people.notification_tables import metadata


def open_people_store(url: str) -> Engine:
    """Open the database, creating the file and the tables of notifications if missing. Raises DatabaseError."""
    engine = open_engine(url)
    path = make_url(url).database
    try:
        if engine.dialect.name == "sqlite" and path:
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        metadata.create_all(engine)
    except OSError as error:
        raise DatabaseError(f"cannot open the database of users {path}: {error.strerror}") from None
    except DBAPIError as error:
        raise DatabaseError(f"cannot open the database of users {shown_url(engine)}: {error.orig}") from None
    return engine
