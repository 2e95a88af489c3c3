"""OpenRC, as on Alpine: a supervised daemon."""

from collections.abc import Mapping
from pathlib import Path

from agent.service import NAME, USER, Service, require, run

SCRIPT = Path("/etc/init.d", NAME)
LOG = Path("/var/log", f"{NAME}.log")
_TEXT = """#!/sbin/openrc-run

name="DashFleet agent"
description="Sends measurements of this machine to its DashFleet server"
supervisor="supervise-daemon"
command="{program}"
command_args="agent --data {data}"
command_user="{user}:{user}"
umask="0077"
respawn_delay="5"
respawn_max="0"
output_log="{log}"
error_log="{log}"

depend() {{
    need net
    after firewall
}}

start_pre() {{
    checkpath --file --owner {user}:{user} --mode 0600 {log}
}}
"""


class OpenRC(Service):
    """OpenRC with supervise-daemon."""

    title = "OpenRC"

    def is_here(self) -> bool:
        """Return True if OpenRC runs this system."""
        return Path("/sbin/openrc-run").exists() and Path("/etc/init.d").is_dir()

    def files(self, program: Path, data: Path) -> Mapping[Path, str]:
        """Return the service script."""
        return {SCRIPT: _TEXT.format(program=program, data=data, user=USER, log=LOG)}

    def is_active(self) -> bool:
        """Return True if the service is started."""
        return run(["rc-service", "--quiet", NAME, "status"]) == 0

    def start(self) -> bool:
        """Add the service to the default runlevel and restart it."""
        SCRIPT.chmod(0o755)
        require(["rc-update", "--quiet", "add", NAME, "default"])
        require(["rc-service", "--quiet", NAME, "restart"])
        return True

    def remove(self) -> None:
        """Stop the service and remove it from the runlevel."""
        run(["rc-service", "--quiet", NAME, "stop"])
        run(["rc-update", "--quiet", "delete", NAME, "default"])
        LOG.unlink(missing_ok=True)


SERVICE = OpenRC()
