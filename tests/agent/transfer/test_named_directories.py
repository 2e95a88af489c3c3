"""Files within the directories that the owner has named: nothing outside, nothing through a link, never half a file."""

import os
import stat
from pathlib import Path

import pytest

from agent.transfer.named_directories import NamedDirectories, PathRefusedError
from runtime.settings.agent import AgentSettings


class Place:
    """A named directory, one beside it, and the agent's own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.named, self.other, self.private = root / "named", root / "other", root / "private"
        for each in (self.named, self.other, self.private):
            each.mkdir()
        (self.other / "secret").write_text("secret")
        self.directories = NamedDirectories([self.named], self.private)

    def read(self, path: Path | str, limit: int = 100) -> bytes:
        with self.directories.open(str(path), limit) as file:
            return file.read()

    def write(self, path: Path | str, text: str = "new", *, mode: int | None = None, replace: bool = False) -> None:
        content = self.root / "content"
        content.write_text(text)
        self.directories.write(str(path), content, mode=mode, replace=replace)

    def refuses(self, path: Path | str, *, replace: bool = True) -> str:
        """Return the sentence with which both reading and writing are refused, or one of them where they differ."""
        with pytest.raises(PathRefusedError) as reading:
            self.read(path)
        with pytest.raises(PathRefusedError):
            self.write(path, replace=replace)
        return str(reading.value)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_file_is_written_whole_and_read_again(place: Place) -> None:
    (place.named / "deep").mkdir()
    place.write(place.named / "deep" / "file", "content")
    assert place.read(place.named / "deep" / "file") == b"content"
    assert stat.S_IMODE((place.named / "deep" / "file").stat().st_mode) == 0o600
    assert [each.name for each in (place.named / "deep").iterdir()] == ["file"]


@pytest.mark.parametrize(
    "path",
    [
        *("", "file", "{}/../other/secret", "{}/./file", "{}//file", "/{}/file", "{}/file/"),
        *("{}/a\0b", "{}/" + "x" * 201),
    ],
)
def test_a_path_that_is_not_plain_is_refused(place: Place, path: str) -> None:
    said = place.refuses(path.replace("{}", str(place.named)))
    assert said == "the path must be absolute and plain, without .., doubled or trailing slashes"


def test_a_file_outside_the_named_directories_is_refused(place: Place) -> None:
    said = place.refuses(place.other / "secret")
    assert said == "the owner of this machine permits no files in this directory"
    assert place.refuses(f"{place.named}er/file") == said
    assert place.refuses(place.named) == said
    nothing = NamedDirectories([], place.private)
    with pytest.raises(PathRefusedError):
        nothing.open(str(place.named / "file"), 100)
    assert (place.other / "secret").read_text() == "secret"


def test_no_link_below_the_directory_is_followed_neither_in_the_middle_nor_at_the_end(place: Place) -> None:
    (place.named / "aside").symlink_to(place.other)
    (place.named / "link").symlink_to(place.other / "secret")
    (place.named / "dangling").symlink_to(place.root / "created")
    assert (
        place.refuses(place.named / "aside" / "secret") == "aside is a link or no directory, and links are not followed"
    )
    assert place.refuses(place.named / "link") == "link is a link, and links are not followed"
    for replace in (False, True):
        place.refuses(place.named / "dangling", replace=replace)
    assert (place.other / "secret").read_text() == "secret"
    assert not (place.root / "created").exists()
    assert (place.named / "link").is_symlink()


def test_a_link_in_place_of_the_directory_that_was_checked_before_is_not_followed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.named / "deep").mkdir()
    located = place.directories.locate

    def exchange(path: str) -> tuple[Path, tuple[str, ...]]:
        found = located(path)
        (place.named / "deep").rmdir()
        (place.named / "deep").symlink_to(place.other)
        return found

    monkeypatch.setattr(place.directories, "locate", exchange)
    with pytest.raises(PathRefusedError, match="links are not followed"):
        place.write(place.named / "deep" / "secret", replace=True)
    assert (place.other / "secret").read_text() == "secret"


def test_the_named_directory_itself_may_be_a_link_of_the_owners(place: Place) -> None:
    (place.root / "link").symlink_to(place.named)
    place.directories = NamedDirectories([place.root / "link"], place.private)
    place.write(place.root / "link" / "file")
    assert (place.named / "file").read_text() == "new"


@pytest.mark.parametrize("by", ["name", "parent", "link", "below", "link below"])
def test_the_directory_of_the_agent_is_refused_under_any_name(place: Place, by: str) -> None:
    (place.private / "keys").write_text("keys")
    (place.private / "agent").mkdir()
    link = place.root / "link"
    link.symlink_to(place.private / "agent" if by == "link below" else place.private)
    named = {"name": place.private, "parent": place.root, "below": place.private / "agent"}.get(by, link)
    place.directories = NamedDirectories([named], place.private)
    for path in ("keys", "agent/journal.db"):
        where = named / path if by != "parent" else place.private / path
        assert place.refuses(where) == "this directory is the agent's own"
    assert (place.private / "keys").read_text() == "keys"


def test_what_is_no_regular_file_or_has_several_names_or_is_too_large_is_not_read(place: Place) -> None:
    os.mkfifo(place.named / "fifo")
    (place.named / "directory").mkdir()
    (place.named / "hard").hardlink_to(place.other / "secret")
    (place.named / "large").write_bytes(bytes(101))
    said = {}
    for name in ("fifo", "directory", "hard", "large"):
        with pytest.raises(PathRefusedError) as refused:
            place.read(place.named / name)
        said[name] = str(refused.value)
    assert said == {
        "fifo": "this is no regular file",
        "directory": "this is no regular file",
        "hard": "the file has several names (hard links), so it may belong elsewhere",
        "large": "the file has 101 bytes, more than 100",
    }


def test_an_existing_file_is_replaced_only_on_request_and_keeps_its_mode(place: Place) -> None:
    file = place.named / "file"
    file.write_text("old")
    file.chmod(0o640)
    with pytest.raises(PathRefusedError, match="file exists: replace=true replaces it"):
        place.write(file)
    assert file.read_text() == "old"
    held = file.open()
    place.write(file, replace=True)
    assert held.read() == "old"  # another file has its name now
    held.close()
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o640)
    place.write(file, replace=True, mode=0o4755)
    assert stat.S_IMODE(file.stat().st_mode) == 0o755
    for other in ("directory", "fifo"):
        (place.named / "directory").mkdir() if other == "directory" else os.mkfifo(place.named / "fifo")
        with pytest.raises(PathRefusedError, match="only a regular file is replaced"):
            place.write(place.named / other, replace=True)


def test_a_hard_link_is_replaced_and_not_written_through(place: Place) -> None:
    (place.named / "hard").hardlink_to(place.other / "secret")
    place.write(place.named / "hard", replace=True)
    assert (place.other / "secret").read_text() == "secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_owner_of_a_replaced_file_stays_the_same_or_it_is_not_replaced(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place.named / "file"
    file.write_text("old")
    os.chown(file, 4321, 4322)
    place.write(file, replace=True)
    assert (file.stat().st_uid, file.stat().st_gid) == (4321, 4322)
    monkeypatch.setattr("agent.transfer.named_directories.os.geteuid", lambda: 1234)
    with pytest.raises(PathRefusedError, match="belongs to another user"):
        place.write(file, replace=True)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place.named / "file"
    file.write_text("old")
    (place.named / ".file.dashfleet").write_text("left by a process that was killed")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agent.transfer.named_directories.shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        place.write(file, replace=True)
    assert [each.name for each in place.named.iterdir()] == ["file"]
    assert file.read_text() == "old"


@pytest.mark.parametrize("directory", ["relative", "/srv/../etc"])
def test_a_directory_that_is_not_plain_is_refused_at_the_start(tmp_path: Path, directory: str) -> None:
    fields = {"data": tmp_path, "machine": "attic", "push_directories": [directory]}
    with pytest.raises(ValueError, match="must be an absolute path without"):
        AgentSettings.model_validate(fields)
