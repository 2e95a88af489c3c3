"""The database cannot be written to, since another program holds its lock."""

import sqlite3

from cli.drill.drill import Drill
from cli.drill.site import DrillSite

_LOCK_SECONDS = 10.0


def _strike(site: DrillSite) -> None:
    connection = sqlite3.connect(site.state.data / "dashfleet.db", timeout=_LOCK_SECONDS, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        site.wait(2 * site.seconds)
        connection.execute("ROLLBACK")
    finally:
        connection.close()


DRILL = Drill(
    "database-locked", "Another program locks the database for a while, so that nothing can be stored.", _strike
)
