"""`docs/security.md` names a test for each threat, and each is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[a-z0-9_/]+\.py)(?:::(\w+))?`", TEXT)))
THREATS = TEXT.partition("## Threats")[2].partition("\n## ")[0].strip().splitlines()[2:]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_test_that_it_names_is_there(file: str, test: str) -> None:
    assert f"def {test}" in (ROOT / file).read_text()


def test_every_threat_has_a_test() -> None:
    assert len(THREATS) > 10
    assert not [line for line in THREATS if "`tests/" not in line.rpartition("|")[0].rpartition("|")[2]]
