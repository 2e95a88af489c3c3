"""The extras of this package: which one installs a module that is missing."""

from importlib.util import find_spec

from runtime.errors import UserError

MODULES = {
    "agent": ("psutil",),
    "server": (
        "nacl",
        "cryptography",
        "prometheus_client",
        "msgspec",
        "amqtt",
        "sqlalchemy",
        "alembic",
        "filelock",
        "bcrypt",
        "websockets",
    ),
    "postgresql": ("psycopg",),
    "dashboard": (
        "streamlit",
        "argon2",
        "babel",
        "authlib",
        "jinja2",
        "httpx2",
        "itsdangerous",
        "pyotp",
        "segno",
        "webauthn",
    ),
    "notifier": ("apprise", "jinja2", "cronsim"),
}
"""Top-level modules of each extra; `tests/runtime/test_extras.py` compares them with pyproject.toml."""


def require_extra(extra: str) -> None:
    """Raise UserError if a module of the extra is missing, without importing it."""
    for module in MODULES[extra]:
        if find_spec(module) is None:
            raise UserError(f"this command needs {module}: install dashfleet[{extra}]")


def missing_extra(module: str | None) -> str | None:
    """Return the extra that installs a module, such as `sqlalchemy.orm`; None if none does."""
    top = (module or "").partition(".")[0]
    return next((extra for extra, modules in MODULES.items() if top in modules), None)
