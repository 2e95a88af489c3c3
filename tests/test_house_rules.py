"""The shape that keeps the tree navigable: sub-packages without cycles, short files and functions, plain language."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("runtime", "schemas", "broker", "agent", "ingestor", "dashboard", "notifier", "bridges", "cli")
SOURCES = sorted(path.relative_to(ROOT) for part in PARTS for path in (ROOT / part).rglob("*.py"))
OWN = [path for path in SOURCES if "migrations" not in path.parts]
FILE_LINES_MAX = 350
FUNCTION_LINES_MAX = 40
FOLDER_FILES_MAX = 16
RULED_OUT = re.compile(
    r"\bso (many|much)\b|\bfor so long\b|\bof one's own\b|\bwhat there is to\b|\bwhoever\b", re.IGNORECASE
)
RIDDLE = re.compile(r"(What|That|Those|Whoever|One)\b")


def module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for path in SOURCES}


def subject(name: str) -> str:
    """The sub-package that a module is in; a module directly below a part stands for itself."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    return package if "." in package else name


def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in MODULES or node.module in MODULES:
                    yield whole if whole in MODULES else node.module


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_sub_packages_do_not_import_each_other_in_a_circle() -> None:
    arrows: dict[str, set[str]] = defaultdict(set)
    for name, path in MODULES.items():
        arrows[subject(name)] |= {subject(other) for other in imported(path)} - {subject(name)}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' <- '.join(error.args[1])}")


def test_the_domain_of_the_ingestor_knows_neither_sql_nor_a_transport() -> None:
    for path in (path for path in SOURCES if path.parts[:2] == ("ingestor", "domain")):
        text = (ROOT / path).read_text()
        assert "sqlalchemy" not in text, path
        assert not [name for name in imported(path) if name.startswith(("broker.client", "schemas.database"))], path


def test_a_class_name_stands_for_one_thing() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in OWN:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path))
    assert not {name: paths for name, paths in found.items() if len(paths) > 1}


def test_files_and_functions_are_short_enough_to_read() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in OWN}
    assert not {path: lines for path, lines in lengths.items() if lines > FILE_LINES_MAX}
    assert not [
        f"{path}: {node.name} ({length})"
        for path in OWN
        for node in functions(path)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


def test_no_folder_is_a_long_list() -> None:
    folders: dict[Path, int] = defaultdict(int)
    for path in SOURCES:
        folders[path.parent] += path.name != "__init__.py"
    assert not {str(folder): files for folder, files in folders.items() if files > FOLDER_FILES_MAX}


def test_sentences_are_plain() -> None:
    assert not [sentence for path in OWN for sentence in _riddles(path)]


def _riddles(path: Path) -> Iterator[str]:
    """The places of a file that use a phrase or a beginning of a docstring that is ruled out."""
    text = (ROOT / path).read_text()
    for match in RULED_OUT.finditer(text):
        yield f"{path}:{text[: match.start()].count(chr(10)) + 1}: {match[0]}"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            if RIDDLE.match(docstring):
                yield f"{path}: {docstring}"


def test_secrets_are_typed_in_the_one_input_that_does_not_lose_them() -> None:
    found = {path for path in OWN for node in ast.walk(tree_of(path)) if is_password(node)}
    assert found == {Path("dashboard/widgets/secret_input.py")}


def is_password(node: ast.AST) -> bool:
    """Return True for `type="password"` in a call."""
    return isinstance(node, ast.keyword) and node.arg == "type" and "'password'" in ast.unparse(node.value)
