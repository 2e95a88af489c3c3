"""Migration of the fleet database to this version, after a backup of what was there.

Invariants:
- Nothing is migrated before the backup is complete, verified and on disk. If it cannot be written, nothing is changed.
- The backup has the tables of the version that wrote them, so that version can restore it.
- BACKUPS_KEPT backups stay; older ones are deleted after a migration that succeeded, not before.
"""

import logging
from pathlib import Path

from sqlalchemy import Engine

from ingestor.admin.backup import back_up
from runtime.clock import Clock
from runtime.errors import UserError
from schemas.database.engine import newest_revision, present_revision, upgrade

BACKUPS = "backups"
"""Name of the directory in the state directory."""

BACKUPS_KEPT = 2

log = logging.getLogger(__name__)


def upgrade_after_backup(engine: Engine, data: Path, clock: Clock, *, backup: bool = True) -> Path | None:
    """Create or migrate the tables; return the file of the backup, None if nothing was there to migrate.

    `data` is the state directory; without `backup` there is none. Raises DatabaseError, UserError.
    """
    found, directory = present_revision(engine), data / BACKUPS
    file = None
    if backup and found is not None and found < newest_revision():
        file = directory / f"before-{newest_revision()}-{clock.now()}.db"
        log.warning("backing up the database to %s before it is migrated", file)
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            back_up(engine, file, revision=found)
        except (OSError, UserError) as error:
            raise UserError(
                f"the database was not migrated, as it cannot be backed up before ({error}): make room, or back it up "
                "with tools of your own and set backup_before_upgrade to false"
            ) from None
    upgrade(engine)
    if file is not None:
        log.warning("migrated the database from revision %s to %s", found, newest_revision())
        for old in sorted(directory.glob("before-*.db"), key=lambda path: path.stat().st_mtime)[:-BACKUPS_KEPT]:
            old.unlink(missing_ok=True)
    return file
