"""What a program that the agent starts may know of the agent: not its secrets."""

import os


def clean_environment() -> dict[str, str]:
    """The environment without the agent's own settings, of which one is its password."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DASHFLEET_")}
