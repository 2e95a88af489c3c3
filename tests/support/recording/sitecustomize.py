"""Records the messages of a child process that has this folder in PYTHONPATH (`traffic.py`).

It waits until the part imports its transport: what else runs in such a process, such as the programs of an action,
pays nothing.
"""

import importlib.machinery
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

SUPPORT = Path(__file__).parents[1]
TRANSPORT = "broker.client.mqtt"


class _AfterTransport(importlib.machinery.PathFinder):
    """Finds the transport's module as usual, and records its class once it is loaded."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != TRANSPORT:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Recorded(spec.loader.name, spec.loader.path)
        return spec


class _Recorded(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        sys.path.append(str(SUPPORT))
        try:
            import traffic
        finally:
            sys.path.remove(str(SUPPORT))
        traffic.record(traffic.Recorder(Path(os.environ[traffic.DIRECTORY])), module.Mqtt)


if os.environ.get("DASHFLEET_TEST_TRAFFIC"):
    sys.meta_path.insert(0, _AfterTransport)
