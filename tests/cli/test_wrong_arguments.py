"""A command line that names what does not exist: one sentence with advice, before anything is asked or shown."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dashfleet
from runtime.errors import UserError

WRONG = (
    ("alerts --org nope", "dashfleet org list"),
    ("alerts acknowledge 99", "dashfleet alerts lists"),
    ("alerts acknowledge 98 99", "dashfleet alerts lists"),
    ("alerts acknowledge --withdraw 99", "dashfleet alerts lists"),
    ("alerts acknowledge --machine nope --rule cpu", "dashfleet alerts lists"),
    ("commands --org nope", "dashfleet org list"),
    ("commands --state lost", "queued"),
    ("commands show nope", "dashfleet commands lists"),
    ("dead-letters clear --org nope", "dashfleet org list"),
    ("dead-letters list --org nope", "dashfleet org list"),
    ("dead-letters show 99", "dashfleet dead-letters list"),
    ("export --org nope", "dashfleet org list"),
    ("export --machine nope", "dashfleet machines"),
    ("files list --org nope", "dashfleet org list"),
    ("org remove nope", "dashfleet org list"),
    ("principal list --org nope", "dashfleet org list"),
    ("rule list --org nope", "dashfleet org list"),
    ("silence end 9", "dashfleet silence list"),
    ("silence list --org nope", "dashfleet org list"),
    ("token list --org nope", "dashfleet org list"),
    ("user add bob --role boss", "viewer, operator, admin"),
    ("user add Bob!", "lower-case letters"),
)


@pytest.mark.parametrize(("line", "advice"), WRONG, ids=[line for line, _advice in WRONG])
def test_the_sentence_says_how_to_find_what_exists(
    data: Path, add_orgs: Callable[..., None], line: str, advice: str
) -> None:
    add_orgs("home")
    done = CliRunner().invoke(dashfleet.application(), [*line.split(), "--data", str(data)])
    assert isinstance(done.exception, UserError), done.output
    assert advice in str(done.exception)
    assert done.stdout == ""
