"""Every document: links, images, paths and modules that it names exist, and its source has one sentence per line."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PACKAGES = ("agent", "broker", "cli", "dashboard", "ingestor", "runtime", "schemas", "tests")
OF_AN_INSTALLATION = re.compile(r"^agent/$")
"""Paths in the state directory that look like one of the tree."""
ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "vs.")


def prose(document: Path) -> str:
    """Return the text without code blocks and comments."""
    text = re.sub(r"^ *```.*?^ *```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def names(document: Path) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", prose(document)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_and_image_exists(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(document))):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        assert path.exists(), target
        assert path.is_relative_to(ROOT)
        assert not anchor or anchor in anchors(path), target


def test_every_image_is_used() -> None:
    text = "\n".join(document.read_text() for document in DOCUMENTS)
    unused = [path.name for path in (ROOT / "docs" / "images").iterdir() if f"images/{path.name}" not in text]
    assert not unused


def test_every_guide_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    missing = [path.name for path in (ROOT / "docs").glob("*.md") if f"({path.name}" not in index]
    assert missing == ["index.md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_exists(document: Path) -> None:
    paths = {
        name.partition("::")[0]
        for name in names(document)
        if re.fullmatch(rf"({'|'.join(PACKAGES)}|docs|\.ci)/[\w./*-]*(::\w+)?", name)
        and not OF_AN_INSTALLATION.search(name)
    }
    missing = [path for path in paths if not list(ROOT.glob(path))]
    # A recipe names the files that it creates.
    assert not [path for path in missing if "/de/" not in path]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_module_exists(document: Path) -> None:
    text = document.read_text()
    imported = re.findall(r"^from ([\w.]+) import ([\w, ]+)$", text, flags=re.MULTILINE)
    dotted = {name for name in names(document) if re.fullmatch(rf"({'|'.join(PACKAGES)})(\.\w+)+", name)}
    dotted -= {name for name in dotted if Path(name.replace(".", "/", 1)).suffix == ".db"}
    dotted |= {f"{module}.{name.strip()}" for module, some in imported for name in some.split(",")}
    for name in sorted(dotted):
        if name.partition(".")[0] not in PACKAGES:
            continue
        module, _, attribute = name.rpartition(".")
        found = importlib.import_module(module)
        assert hasattr(found, attribute) or _is_module(name), name


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path.name != "cli.md"], ids=lambda path: path.name)
def test_a_line_has_one_sentence_and_a_sentence_one_line(document: Path) -> None:
    wrong, before = [], ""
    for line in prose(document).splitlines():
        text = line.strip()
        if text.startswith(("|", "#", "![", "[Unit]")) or not text:
            before = ""
            continue
        plain = re.sub(
            r"`[^`]*`|\[[^\]]*\]\([^)]*\)|\*\*[^*]+\*\*", "x", re.sub(r"^(-|\d+\.) (\*\*[^*]+\*\* )?", "", text)
        )
        if any(abbreviation in plain for abbreviation in ABBREVIATIONS) or re.search(r"[.!?] +[A-Zx“\"*]", plain):
            wrong.append(f"several sentences: {text}")
        if before and not before.endswith((".", ":", "!", "?", ";")) and not re.match(r"(-|\d+\.) ", text):
            wrong.append(f"a sentence goes on: {text}")
        before = text
    assert not wrong


def _is_module(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).with_suffix(".py").exists() or (ROOT / name.replace(".", "/")).is_dir()
