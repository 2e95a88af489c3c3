"""A command line that names what does not exist: one sentence with advice, before anything is asked or shown."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import dashfleet
from cli import silence
from cli.rules import definition
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


@pytest.mark.parametrize(
    ("modules", "named"),
    [(("cli.rules.rule",), definition.OPTIONS), (("cli.silence", "cli.alerts"), silence.OPTIONS)],
)
def test_refusals_name_options_that_exist(modules: tuple[str, ...], named: dict[str, str]) -> None:
    known: set[str] = set()
    for module in modules:
        group = typer.main.get_command(import_module(module).app)
        commands = getattr(group, "commands", {"": group}).values()
        known |= {option for each in commands for parameter in each.params for option in parameter.opts}
    assert {option for option in named.values() if option.startswith("-")} - known == set()
