"""The shape of the code, kept: who imports whom, and where the big libraries may be.

Each rule is one test that lists all files that break it: a test for each file and rule would be thousands.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("runtime", "schemas", "broker", "agent", "ingestor", "dashboard", "notifier", "bridges")
MAY_IMPORT = {
    "runtime": {"runtime", "schemas"},
    "schemas": {"runtime", "schemas"},
    "broker": {"runtime", "schemas", "broker"},
    "agent": {"runtime", "schemas", "broker", "agent"},
    "ingestor": {"runtime", "schemas", "broker", "ingestor"},
    "dashboard": {"runtime", "schemas", "broker", "dashboard"},
    "notifier": {"runtime", "schemas", "broker", "notifier"},
    "bridges": {"runtime", "schemas", "broker", "bridges"},
}
BRIDGES_MAY_USE = ("schemas.contract", "broker.client", "broker.access.policy")
"""Bridges are third parties: they show that the contract is sufficient."""
ONLY_IN = {
    "paho": {
        f"broker/client/{name}.py" for name in ("mqtt", "fast_client", "subscriber", "sockets", "disconnect_reasons")
    },
    "amqtt": {"broker"},
    "websockets": {"broker/embedded/websocket.py"},
    "psutil": {"agent"},
    "streamlit": {"dashboard"},
    "sqlalchemy": {
        "schemas",
        "broker/access/principals.py",
        "ingestor",
        "dashboard",
        "notifier",
        "cli",
        "cli/up/installation.py",
    },
    "alembic": {"schemas"},
    "typer": {"dashfleet.py", "cli"},
    "nacl": {"schemas/contract/signing.py"},
    "msgspec": {"ingestor/domain/live_sample.py"},
    "prometheus_client": {"ingestor/metrics.py"},
    "authlib": {"dashboard/auth/single_sign_on.py"},
    "httpx2": {"dashboard/auth/single_sign_on.py"},
    "apprise": {"notifier/sending/apprise_channel.py"},
    "requests": {"notifier/sending", "notifier/heartbeat.py"},
    "joserfc": {"dashboard/auth/single_sign_on.py"},
    "pyotp": {"dashboard/auth/authenticator_app.py"},
    "segno": {"dashboard/auth/authenticator_app.py"},
    "webauthn": {"dashboard/auth/passkeys.py"},
}
MAY_CATCH_EVERYTHING = {
    "runtime/plugins.py": 1,  # around a plug-in: loading it
    "agent/collector.py": 1,  # around a plug-in: starting it
    "agent/collection/sample_runner.py": 1,  # around a plug-in: running it
    "agent/collection/detail_round.py": 1,  # around a plug-in: running it
    "runtime/children/forked_process.py": 1,  # around a forked process: nothing of its parent may run there
    "agent/inventory.py": 1,  # around a fact of the system: psutil raises whatever an odd /proc makes it raise
    "agent/action.py": 1,  # around a plug-in: one thing that it does
    "ingestor/intake/message_handlers.py": 1,  # around one message
    "ingestor/alerts/rule.py": 1,  # around one alert rule
    "notifier/sending/apprise_channel.py": 1,  # around a service of Apprise: sending one message
    "broker/embedded/broker.py": 1,  # around one decision of access: what fails is denied
    "broker/embedded/server.py": 1,  # around reading the principals: without it revoking would end
}
SOURCES = sorted(
    path.relative_to(ROOT)
    for path in [*ROOT.glob("*.py"), *(path for part in (*PARTS, "cli") for path in (ROOT / part).rglob("*.py"))]
)


def text_of(path: Path) -> str:
    return (ROOT / path).read_text()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


@cache  # the names only: all trees at once would fill the memory of the process that runs the other tests
def imported(path: Path, *, at_the_top: bool = False) -> frozenset[str]:
    """The modules that a file imports; with `at_the_top` only those that loading it imports."""
    tree = tree_of(path)
    names: set[str] = set()
    for node in tree.body if at_the_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return frozenset(names)


def test_parts_import_only_what_is_below_them() -> None:
    every_part = {*PARTS, "cli", "dashfleet"}
    astray = {
        str(path): parts - MAY_IMPORT[path.parts[0]]
        for path in SOURCES
        if path.parts[0] in PARTS  # the front door may import every part
        and not (parts := {name.partition(".")[0] for name in imported(path)} & every_part) <= MAY_IMPORT[path.parts[0]]
    }
    assert not astray


def test_a_bridge_uses_the_contract_and_nothing_else_of_the_server() -> None:
    for path in (path for path in SOURCES if path.parts[0] == "bridges"):
        used = {name for name in imported(path) if name.startswith(("schemas.", "broker."))}
        assert not {name for name in used if not name.startswith(BRIDGES_MAY_USE)}, path


def test_no_action_uses_a_collector_and_no_collector_an_action() -> None:
    # folders of plug-ins: any file in them may be absent
    for one, other in (("actions", "agent.collectors."), ("collectors", "agent.actions.")):
        for path in (path for path in SOURCES if path.parts[:2] == ("agent", one)):
            assert not {name for name in imported(path) if name.startswith(other)}, path


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_stays_in_its_place(library: str) -> None:
    users = {str(path) for path in SOURCES if library in {name.partition(".")[0] for name in imported(path)}}
    astray = {
        user for user in users if not any(user == place or user.startswith(f"{place}/") for place in ONLY_IN[library])
    }
    assert users, f"nothing imports {library} any more: remove it from this table and from pyproject.toml"
    assert not astray


def test_the_front_door_imports_a_part_only_when_its_command_runs() -> None:
    front = (path for path in SOURCES if path == Path("dashfleet.py") or path.parts[0] == "cli")
    for path in (path for path in front if path.parts[:2] != ("cli", "up")):  # imported only when `up` runs
        parts = {name.partition(".")[0] for name in imported(path, at_the_top=True)}
        assert not parts & (set(PARTS) - {"schemas", "runtime"}), path


def test_only_one_file_spells_the_topic_tree() -> None:
    spelled = re.compile(r"""dashfleet/v1|["'](up|down)/(status|info|telemetry|backfill|result|command|ack|config)""")
    others = [path for path in SOURCES if path != Path("schemas/contract/topics.py")]
    assert not [str(path) for path in others if spelled.search(text_of(path))]


def test_what_refreshes_on_a_page_is_drawn_by_one_function() -> None:
    assert [str(path) for path in SOURCES if "st.fragment(" in (ROOT / path).read_text()] == [
        "dashboard/page/refresh.py"
    ]


def test_no_file_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "helpers", "common", "base", "manager"}
    assert not [str(path) for path in SOURCES if empty & {*path.parts[:-1], path.stem}]


def test_no_process_is_started_through_a_shell() -> None:
    assert not [str(path) for path in SOURCES if "shell=True" in text_of(path) or "os.system" in text_of(path)]


def test_nothing_catches_everything_but_at_the_named_places() -> None:
    broad = {str(path): _broad_handlers(path) for path in SOURCES}
    assert not {path: lines for path, lines in broad.items() if len(lines) > MAY_CATCH_EVERYTHING.get(path, 0)}


def _broad_handlers(path: Path) -> list[int]:
    """The lines of the handlers in a file that catch everything and do not raise it again."""
    handlers = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ExceptHandler)]
    return [
        handler.lineno for handler in handlers if _is_broad(handler) and not isinstance(handler.body[-1], ast.Raise)
    ]


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")
