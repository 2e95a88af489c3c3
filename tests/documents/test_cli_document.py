"""`docs/cli.md` is what `make reference` writes, and the commands and options in all documents exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cli_reference
import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TEXT = cli_reference.DOCUMENT.read_text()
COMMANDS = dict(cli_reference.commands())
GROUPS = {name.rpartition(" ")[0] for name in COMMANDS}
ALWAYS = {"--help", "--version"}


def options(command: Any) -> set[str]:  # noqa: ANN401 - Typer's own kind of click
    """Return the long options of a command, `--no-…` forms included."""
    spelled = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return {option for option in spelled if option.startswith("--")} | ALWAYS


def mentioned(document: Path) -> Iterator[list[str]]:
    """Yield the words of each command of ours in a code block or in backquotes, without the program's name."""
    text = document.read_text()
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```$", text, flags=re.DOTALL | re.MULTILINE)
    for line in "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text)]).splitlines():
        for part in re.split(r"&&|\s#\s|>", line):
            command = re.match(r"(?:[\w=/-]+/|sudo -u dashfleet [\w/]+/)?dashfleet ([a-z].*)$", part.strip())
            if command:
                yield command[1].split()


def test_the_reference_is_up_to_date() -> None:
    assert cli_reference.reference() == TEXT, "run `make reference`"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_and_option_is_described(command: str) -> None:
    section = cli_reference.section_of(command, TEXT)
    assert COMMANDS[command].help
    for parameter in COMMANDS[command].params:
        assert parameter.name == "help" or parameter.help, parameter.name
    assert all(f"`{option}`" in section for option in options(COMMANDS[command]) - ALWAYS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_exists_with_its_options(document: Path) -> None:
    for words in mentioned(document):
        group, name = f"dashfleet {words[0]}", f"dashfleet {' '.join(words[:2])}"
        command = COMMANDS.get(name, COMMANDS.get(group))
        assert command or group in GROUPS, words
        own = words[: words.index("--")] if "--" in words else words  # behind it is another program's
        given = {word.partition("=")[0] for word in own if word.startswith("--")}
        assert given <= (options(command) if command else ALWAYS), words


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_option_in_backquotes_exists(document: Path) -> None:
    script = set(re.findall(r"= (--[a-z-]+) ", (ROOT / "runtime" / "bundle" / "install.sh").read_text()))
    known = script.union(*map(options, COMMANDS.values()))
    assert set(re.findall(r"`(--[a-z-]+)[ `]", document.read_text())) <= known
