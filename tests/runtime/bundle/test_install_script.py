"""The install script, run by a real shell: a part of it does nothing, and each failure is one sentence."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from servers import require_program

from runtime.bundle import builder

PYTHON = getattr(sys, "_base_executable", sys.executable)
TOOLS = ("sh", "mktemp", "rm", "rmdir", "cp", "sha256sum", "ls", "uname", "mkdir", "chmod", "cat")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle")
    builder.build(directory)
    return directory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with the programs that the script may use, and one for what it writes."""
    (tmp_path / "bin").mkdir()
    for name in TOOLS:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or pytest.fail(name))
    (tmp_path / "bin" / "id").write_text("#!/bin/sh\necho 0\n")
    (tmp_path / "bin" / "id").chmod(0o755)
    (tmp_path / "tmp").mkdir()
    return tmp_path


def run(home: Path, script: str, *words: str, python: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a script as it arrives in `curl | sh`."""
    if python and not (home / "bin" / "python3").exists():
        (home / "bin" / "python3").symlink_to(PYTHON)
    return subprocess.run(
        ["sh", "-s", "--", *words],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": str(home / "bin"), "TMPDIR": str(home / "tmp")},
        cwd=home,
        check=False,
    )


def left(home: Path) -> Sequence[Path]:
    return sorted(path for path in home.rglob("*") if "bin" not in path.relative_to(home).parts)


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("dashfleet: ")
    return line


def test_shellcheck_finds_nothing(bundle: Path) -> None:
    done = subprocess.run(
        [require_program("shellcheck", "shellcheck"), "install.sh"],
        cwd=bundle,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


def test_a_script_that_was_cut_off_does_nothing(bundle: Path, home: Path) -> None:
    whole = (bundle / "install.sh").read_text()
    before = left(home)
    cuts = [*range(0, len(whole), 1000), *range(len(whole) - 30, len(whole) - 1)]
    for cut in cuts:
        done = run(home, whole[:cut], "--from", str(bundle), "--prefix", str(home / "opt"))
        assert done.stdout == "", cut
        assert left(home) == before, cut


def test_without_an_argument_it_says_what_is_missing(bundle: Path, home: Path) -> None:
    assert "--from is missing" in sentence(run(home, (bundle / "install.sh").read_text()))


def test_without_root_it_says_so(bundle: Path, home: Path) -> None:
    (home / "bin" / "id").write_text("#!/bin/sh\necho 1000\n")
    assert "sudo" in sentence(run(home, (bundle / "install.sh").read_text(), "--from", str(bundle)))


def test_a_machine_without_python_is_told_what_to_install(bundle: Path, home: Path) -> None:
    script = (bundle / "install.sh").read_text().replace("/usr/local/bin/python3", "/nowhere")
    done = run(home, script, "--from", str(bundle), "--prefix", str(home / "opt"), python=False)
    assert "Python 3.11 or newer" in sentence(done)
    assert left(home) == [home / "tmp"]


def test_a_file_with_another_hash_is_not_used(bundle: Path, home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bin" / "copy"
    shutil.copytree(bundle, copy)
    manifest = builder.read(copy)
    assert manifest is not None
    (copy / manifest.agent.path).write_bytes(b"something else")
    done = run(home, (copy / "install.sh").read_text(), "--from", str(copy), "--prefix", str(home / "opt"))
    assert "does not have the expected SHA-256: nothing was installed" in sentence(done)
    assert left(home) == [home / "tmp"]


def test_a_bundle_that_was_replaced_meanwhile_is_not_used(bundle: Path, home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bin" / "copy"
    shutil.copytree(bundle, copy)
    (copy / "manifest.json").write_text((copy / "manifest.json").read_text().replace("0.", "1."))
    done = run(home, (copy / "install.sh").read_text(), "--from", str(copy), "--prefix", str(home / "opt"))
    assert "another bundle than this script was made for" in sentence(done)
    assert left(home) == [home / "tmp"]


def test_python_is_obtained_with_the_uv_of_the_bundle_after_its_hash_was_verified(
    bundle: Path, home: Path, tmp_path: Path
) -> None:
    """The uv of this test makes a Python of its own; what the real one downloads cannot be downloaded here."""
    uv = '#!/bin/sh\nmkdir -p "$UV_PYTHON_INSTALL_DIR/cpython-3.12.1/bin"\n'
    python = f'#!/bin/sh\\nexec {PYTHON} "$@"\\n'
    uv += f"printf '{python}' > \"$UV_PYTHON_INSTALL_DIR/cpython-3.12.1/bin/python3\"\n"
    uv += 'chmod 755 "$UV_PYTHON_INSTALL_DIR/cpython-3.12.1/bin/python3"\n'
    sha256 = hashlib.sha256(uv.encode()).hexdigest()
    copy = tmp_path / "bin" / "copy"
    shutil.copytree(bundle, copy)
    name = f"uv-{'musl' if list(Path('/lib').glob('ld-musl-*')) else 'linux'}-{os.uname().machine}"
    (copy / "manifest.json").write_text("{}")  # so that nothing follows
    (copy / sha256).mkdir()
    (copy / sha256 / name).write_text(uv)
    script = (copy / "install.sh").read_text().replace('programs=""', f'programs="{name}={sha256}"')
    assert sha256 in script
    words = ("--from", str(copy), "--prefix", str(home / "opt"))
    done = run(home, script.replace("/usr/local/bin/python3", "/nowhere"), *words, python=False)
    assert "installing one into" in done.stdout, done.stderr
    assert "another bundle" in done.stderr
    assert left(home) == [home / "tmp"]
    (copy / sha256 / name).write_text(uv + "# changed\n")
    done = run(home, script.replace("/usr/local/bin/python3", "/nowhere"), *words, python=False)
    assert "does not have the expected SHA-256" in done.stderr
