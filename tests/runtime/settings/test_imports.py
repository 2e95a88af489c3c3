"""Modules that reading settings imports."""

import subprocess
import sys


def test_reading_settings_does_not_import_sqlalchemy() -> None:
    code = (
        "import sys, runtime.settings.loading, runtime.settings.dashboard, runtime.settings.ingestor, "
        "runtime.settings.broker, runtime.state_directory; sys.exit('sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_settings_of_the_agent_do_not_import_those_of_other_parts_nor_the_sources() -> None:
    code = (
        "import sys, runtime.settings.agent; sys.exit(any(f'runtime.settings.{name}' in sys.modules for name in "
        "('dashboard', 'ingestor', 'broker', 'loading')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
