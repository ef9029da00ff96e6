"""The folder of a repository: made in one visible step, also after one that was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import InvalidInputError, RepositoryExistsError, StorageError
from tensorvcs.storage import folder as folder_module
from tensorvcs.storage.durable import lock_shared, remove_leftovers, temporary_name
from tensorvcs.storage.folder import (
    Folder,
    create_folder,
    find_folder,
    is_vacant,
    open_folder,
    read_settings,
    write_settings,
)

if TYPE_CHECKING:
    from pathlib import Path


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("bare", [False, True])
def test_it_is_filled_before_it_is_seen(tmp_path: Path, bare: bool) -> None:
    path = tmp_path / "deep" / "er"
    seen = []

    def fill(folder: Folder) -> None:
        assert read_settings(folder) == {"a.b": "c"}
        seen.append(find_folder(path))
        (folder.lmdb_folder / "data").write_bytes(b"x")

    folder = create_folder(path, bare=bare, settings={"a.b": "c"}, fill=fill)
    assert seen == [None]
    assert find_folder(path) == open_folder(path) == folder
    assert (folder.lmdb_folder / "data").read_bytes() == b"x"
    assert names_in(folder.root) == {"config.json", "format.json", "lmdb", "packs"}
    assert names_in(path) == (names_in(folder.root) if bare else {".tensorvcs"})
    with pytest.raises(RepositoryExistsError):
        create_folder(path, bare=bare)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("error", [StorageError("full"), OSError("full"), KeyboardInterrupt()])
def test_a_failure_leaves_no_repository(tmp_path: Path, bare: bool, error: BaseException) -> None:
    def fill(folder: Folder) -> None:
        raise error

    with pytest.raises((StorageError, KeyboardInterrupt)):
        create_folder(tmp_path / "repo", bare=bare, fill=fill)
    assert find_folder(tmp_path / "repo") is None
    if isinstance(error, OSError):
        assert names_in(tmp_path) == set()
    create_folder(tmp_path / "repo", bare=bare)


def test_what_a_killed_init_left_is_taken_away(tmp_path: Path) -> None:
    left = temporary_name(tmp_path / ".tensorvcs")
    (left / "packs").mkdir(parents=True)
    assert is_vacant(tmp_path, bare=False)
    assert not left.exists()


def test_a_bare_one_that_was_begun_is_finished(tmp_path: Path) -> None:
    (tmp_path / "packs").mkdir()
    write_settings(Folder(tmp_path, is_bare=True), {"old": "x"})
    assert is_vacant(tmp_path, bare=True)
    assert not is_vacant(tmp_path, bare=False)
    folder = create_folder(tmp_path, bare=True, settings={"new": "y"})
    assert read_settings(folder) == {"new": "y"}


@pytest.mark.parametrize("name", ["lmdb/data.mdb", "config.json", "packs/a.h5", "notes.txt"])
def test_files_of_somebody_else_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(InvalidInputError, match="is not empty"):
        create_folder(tmp_path, bare=True)
    assert (tmp_path / name).read_bytes() == b"mine"


def test_of_two_at_once_one_makes_it_and_the_other_is_told(tmp_path: Path) -> None:
    def be_overtaken(_: Folder) -> None:
        create_folder(tmp_path, bare=False, settings={"who": "the quicker one"})

    with pytest.raises(RepositoryExistsError) as caught:
        create_folder(tmp_path, bare=False, settings={"who": "the slower one"}, fill=be_overtaken)
    assert caught.value.hint is not None
    assert [entry.name for entry in tmp_path.iterdir()] == [".tensorvcs"]
    assert "the quicker one" in (tmp_path / ".tensorvcs" / "config.json").read_text()


def test_what_is_taken_for_a_leftover_before_it_is_locked_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[int] = []

    def remove_first(descriptor: int) -> bool:
        if not removed:
            removed.append(remove_leftovers(tmp_path / ".tensorvcs"))
        return lock_shared(descriptor)

    monkeypatch.setattr(folder_module, "lock_shared", remove_first)
    create_folder(tmp_path, bare=False)
    assert removed == [1]
    assert [entry.name for entry in tmp_path.iterdir()] == [".tensorvcs"]
