"""Windows: a scheduled task that starts with the system. Not run by the tests, which have no Windows.

A Windows service needs a program that answers the service manager; the task scheduler restarts any program.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from agent.service import Service, require, run

TASK = "DashFleet agent"
TASK_FILE = Path(os.environ.get("ProgramData", "C:/ProgramData"), "DashFleet", "agent-task.xml")  # noqa: SIM112 - Windows
_TEXT = """<?xml version="1.0" encoding="UTF-8"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers><BootTrigger><Enabled>true</Enabled></BootTrigger></Triggers>
  <Principals><Principal id="Author"><UserId>S-1-5-19</UserId></Principal></Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure>
  </Settings>
  <Actions Context="Author"><Exec>
    <Command>{program}</Command>
    <Arguments>agent --data "{data}"</Arguments>
  </Exec></Actions>
</Task>
"""


class WindowsTask(Service):
    """The task scheduler. The task runs as LocalService."""

    title = "the task scheduler"
    needs_user = False

    def is_here(self) -> bool:
        """Return True on Windows."""
        return sys.platform == "win32"

    def files(self, program: Path, data: Path) -> Mapping[Path, str]:
        """Return the task."""
        return {TASK_FILE: _TEXT.format(program=escape(str(program)), data=escape(str(data)))}

    def is_active(self) -> bool:
        """Return True if the task exists."""
        return run(["schtasks", "/Query", "/TN", TASK]) == 0

    def start(self) -> bool:
        """Register the task and start it."""
        require(["schtasks", "/Create", "/F", "/TN", TASK, "/XML", str(TASK_FILE)])
        run(["schtasks", "/End", "/TN", TASK])
        require(["schtasks", "/Run", "/TN", TASK])
        return True

    def remove(self) -> None:
        """End the task and delete it."""
        run(["schtasks", "/End", "/TN", TASK])
        run(["schtasks", "/Delete", "/F", "/TN", TASK])


SERVICE = WindowsTask()
