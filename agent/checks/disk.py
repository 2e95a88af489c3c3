"""Space for the outbox."""

import errno
import os
import shutil
from pathlib import Path
from tempfile import TemporaryFile

from agent.check import Examination, Finding, check

_BLOCK = 4096


@check(order=80)
def disk(examination: Examination) -> Finding:
    """Check that the state directory can be written, and has space for a full outbox."""
    data, needed = examination.settings.data, examination.settings.outbox_max_bytes
    try:
        if os.access(data, os.W_OK):
            with TemporaryFile(dir=data) as file:
                file.write(bytes(_BLOCK))
                file.flush()
                os.fsync(file.fileno())
        free = shutil.disk_usage(data).free
    except OSError as error:
        advice = (
            f"Free some space on the disk of {data}."
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else f"Check the file system of {data}: is it mounted read-only?"
        )
        return Finding("disk", "problem", f"{data} cannot be written: {error.strerror}", advice)
    if free < needed:
        detail = f"{free >> 20} MiB are free, an outbox may grow to {needed >> 20} MiB"
        return Finding("disk", "warning", detail, _advice(data))
    return Finding("disk", "ok", f"{free >> 20} MiB are free")


def _advice(data: Path) -> str:
    return f"Free some space on the disk of {data}, or lower outbox_max_bytes: samples of long outages would be lost."
