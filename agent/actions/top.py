"""The action `top`: list the processes that use most at this moment."""

import time

from agent.action import ActionContext, NoArguments, Outcome, action
from agent.host.process_table import command_line
from agent.host.top_processes import ProcessWatch, TopProcess

MEASURED_SECONDS = 2.0


@action(NoArguments, title="Top processes", seconds=MEASURED_SECONDS + 30)
def top(_arguments: NoArguments, context: ActionContext) -> Outcome:
    """Return a table of the processes that used most of the processors, the memory and the disks in two seconds."""
    watch = ProcessWatch()
    watch.top()
    time.sleep(MEASURED_SECONDS)
    found = watch.top()
    rows = [_row(each, command_line(each.pid) if context.settings.process_arguments else "") for each in found]
    heading = f"{'PID':>8} {'CPU %':>7} {'MEMORY MiB':>11} {'DISK KiB/s':>11}  NAME"
    detail = f"The processors are busy at {watch.machine_percent:.0f} %."
    return Outcome.succeeded(detail, output="\n".join((heading, *rows)))


def _row(process: TopProcess, arguments: str) -> str:
    disk = "" if process.disk_bytes_per_second is None else f"{process.disk_bytes_per_second / 1024:.0f}"
    memory = f"{process.memory_bytes / (1 << 20):.1f}"
    return f"{process.pid:>8} {process.cpu_percent:>7.1f} {memory:>11} {disk:>11}  {arguments or process.name}"
