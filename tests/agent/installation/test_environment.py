"""The agent's environment: what is written when it is built."""

import sysconfig
import venv
from pathlib import Path

from agent.installation import environment


def test_the_byte_code_that_the_agent_loads_is_written_when_the_environment_is_built(tmp_path: Path) -> None:
    venv.EnvBuilder(with_pip=False, symlinks=True).create(tmp_path)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(tmp_path), "platbase": str(tmp_path)}))
    (packages / "sample.py").write_text('"""A module."""\n')
    (packages / "broken.py").write_text("print 'of an example for Python 2'\n")
    environment.compile_modules(tmp_path)
    assert len(list((packages / "__pycache__").glob("sample.*.opt-2.pyc"))) == 1
