"""`docs/cli.md` is what `make reference` writes, and every command and option in it has a help text."""

import cli_reference
import pytest

TEXT = cli_reference.DOCUMENT.read_text()
COMMANDS = dict(cli_reference.commands())


def test_the_reference_is_up_to_date() -> None:
    assert cli_reference.reference() == TEXT, "run `make reference`"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_and_option_is_described(command: str) -> None:
    section = cli_reference.section_of(command, TEXT)
    assert COMMANDS[command].help
    for parameter in COMMANDS[command].params:
        assert parameter.name == "help" or parameter.help, parameter.name
        assert all(f"`{option}`" in section for option in parameter.opts if option.startswith("--"))
