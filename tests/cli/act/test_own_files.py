"""`dashfleet act update`: version and hash are those of this server's bundle, unless they are given."""

import hashlib
from pathlib import Path

import pytest

from cli.act.own_files import complete
from cli.act.plan import ActWords
from runtime.errors import UserError
from runtime.version import VERSION


def words(*arguments: str) -> ActWords:
    return ActWords.parse(["update", "attic", *arguments], [], None, all_machines=False)


def done(given: ActWords, data: Path) -> ActWords:
    return complete(given, data, "home", offer=True)


def test_version_and_hash_of_the_bundle_are_filled_in_and_it_is_built_if_it_is_missing(tmp_path: Path) -> None:
    found = done(words(f"version={VERSION}"), tmp_path)
    manifest = (tmp_path / "bundle" / "manifest.json").read_bytes()
    assert found.arguments == {"version": VERSION, "sha256": hashlib.sha256(manifest).hexdigest()}
    assert done(words(), tmp_path).arguments == found.arguments
    assert found.machines == ("attic",)


def test_another_version_than_the_servers_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"the bundle of this server has version {VERSION}, not 9.9"):
        done(words("version=9.9"), tmp_path)


def test_what_is_given_completely_and_other_actions_stay_as_they_are(tmp_path: Path) -> None:
    given = words("version=9.9", "sha256=" + "a" * 64)
    assert done(given, tmp_path) is given
    other = ActWords.parse(["ping", "attic"], [], None, all_machines=False)
    assert done(other, tmp_path) is other
    assert not (tmp_path / "bundle").exists()
