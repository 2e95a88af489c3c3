"""The environment of programs that the agent starts: without the agent's secrets."""

import os


def clean_environment() -> dict[str, str]:
    """Return the environment without the agent's own settings, which include its password."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DASHFLEET_")}
