"""`dashfleet org`, `principal` and `token`: output and exit codes."""

import json
import re
from pathlib import Path
from typing import Any

from command_line import at_a_terminal, dashfleet, refusal

from broker.access.principals import TableDirectory
from runtime.state_directory import StateDirectory
from schemas.contract.enrolment import Token
from schemas.database.engine import open_engine


def fits(data: Path, username: str, secret: str) -> bool:
    """Return whether a broker would accept this credential now."""
    engine = open_engine(StateDirectory(data).database_url)
    directory = TableDirectory(engine)
    directory.refresh()
    engine.dispose()
    entry = directory.find(username)
    return entry is not None and entry.record_of(secret) is not None


def listed(data: Path, group: str) -> list[dict[str, Any]]:
    found = json.loads(dashfleet(group, "list", "--data", str(data), "--json").stdout)
    assert isinstance(found, list)
    return found


def test_an_organisation_is_configured_and_shown(data: Path) -> None:
    at = ("--data", str(data))
    dashfleet("org", "add", "acme", *at)
    done = dashfleet("org", "configure", "acme", "time_to_live_seconds=2d", "cpu_knee_percent=65", *at)
    assert done.stdout == "time_to_live_seconds 1 d → 2 d, cpu_knee_percent 50 % → 65 %\n"
    assert "Nothing changed" in dashfleet("org", "configure", "acme", "cpu_knee_percent=65", *at).stdout
    shown = dashfleet("org", "configure", "acme", *at).stdout
    assert re.search(r"time_to_live_seconds +2 d +Long offline after no data for", shown)
    values = json.loads(dashfleet("org", "configure", "acme", "--json", *at).stdout)
    assert (values["time_to_live_seconds"], values["keep_samples_seconds"]) == (172_800, 172_800)
    assert "no organisation nowhere" in refusal("org", "configure", "nowhere", *at)
    assert "is not a valid SETTING=VALUE" in refusal("org", "configure", "acme", "colour=red", *at)
    assert "not a duration" in refusal("org", "configure", "acme", "stale_seconds=soon", *at)
    assert "cpu_weight must be a number" in refusal("org", "configure", "acme", "cpu_weight=much", *at)
    assert "cpu_weight must be a number" in refusal("org", "configure", "acme", "cpu_weight=nan", *at)
    assert "must sum to 1" in refusal("org", "configure", "acme", "cpu_weight=0.9", *at)


def test_an_organisation_comes_and_goes(data: Path) -> None:
    assert dashfleet("org", "add", "acme", "--data", str(data)).returncode == 0
    assert [row["org"] for row in listed(data, "org")] == ["acme"]
    assert "acme" in dashfleet("org", "list", "--data", str(data)).stdout
    assert "acme exists already" in refusal("org", "add", "acme", "--data", str(data))
    code, shown = at_a_terminal("org", "remove", "acme", "--data", str(data), typing=["n"])
    assert code != 0, shown
    assert [row["org"] for row in listed(data, "org")] == ["acme"]
    assert dashfleet("org", "remove", "acme", "--yes", "--data", str(data)).returncode == 0
    assert listed(data, "org") == []


def test_a_principal_is_added_rotated_and_revoked_and_its_secret_is_alone_on_standard_output(data: Path) -> None:
    dashfleet("org", "add", "acme", "--data", str(data))
    first = dashfleet("principal", "add", "grafana", "--role", "reader", "--org", "acme", "--data", str(data)).stdout
    assert fits(data, "acme._grafana", first.strip())
    second = dashfleet("principal", "rotate", "acme._grafana", "--overlap", "1h", "--data", str(data)).stdout
    assert [fits(data, "acme._grafana", secret.strip()) for secret in (first, second)] == [True, True]
    third = dashfleet("principal", "rotate", "acme._grafana", "--overlap", "0", "--data", str(data)).stdout
    assert [fits(data, "acme._grafana", secret.strip()) for secret in (first, second, third)] == [False, False, True]
    assert dashfleet("principal", "revoke", "acme._grafana", "--data", str(data)).returncode == 0
    assert not fits(data, "acme._grafana", third.strip())
    assert listed(data, "principal")[0]["revoked"] is not None
    assert not [secret for secret in (first, second, third) if secret.strip() in str(listed(data, "principal"))]


def test_a_token_is_alone_on_standard_output_and_the_line_to_run_beside_it(data: Path) -> None:
    dashfleet("org", "add", "acme", "--data", str(data))
    done = dashfleet("token", "create", "--org", "acme", "--uses", "2", "--expires", "15m", "--data", str(data))
    token = Token.parse(done.stdout)
    assert fits(data, f"acme._{token.name}", token.secret)
    assert "/install.sh | sudo sh -s -- --from" in done.stderr
    assert token.secret not in done.stderr
    (row,) = listed(data, "token")
    assert (row["uses"], row["used"]) == (2, 0)
    assert token.secret not in dashfleet("token", "list", "--data", str(data)).stdout
    assert dashfleet("token", "revoke", row["token"], "--data", str(data)).returncode == 0
    assert not fits(data, f"acme._{token.name}", token.secret)


def test_what_cannot_be_done_about_access_is_one_sentence(data: Path) -> None:
    at = ["--data", str(data)]
    assert "no organisation nowhere" in refusal("token", "create", "--org", "nowhere", *at)
    assert "no organisation nowhere" in refusal("principal", "add", "x", "--role", "reader", "--org", "nowhere", *at)
    assert "no organisation nowhere" in refusal("org", "remove", "nowhere", "--yes", *at)
    assert "no principal home.x" in refusal("principal", "revoke", "home.x", *at)
    assert "no token home._x" in refusal("token", "revoke", "home._x", *at)
    assert "not a duration" in refusal("token", "create", "--expires", "soon", *at)
    assert "cannot be an organisation" in refusal("org", "add", "Acme_1", *at)
