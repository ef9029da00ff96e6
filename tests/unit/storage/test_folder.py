"""The folder of a repository: made in one visible step, also after one that was killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tensorvcs.errors import (
    InvalidInputError,
    ObjectDamagedError,
    RepositoryExistsError,
    StorageError,
)
from tensorvcs.storage import folder as folder_module
from tensorvcs.storage.durable import lock_shared, remove_leftovers, set_step_hook, temporary_name
from tensorvcs.storage.folder import (
    Folder,
    check_format,
    create_folder,
    find_folder,
    is_vacant,
    open_folder,
    read_settings,
    write_settings,
)
from tensorvcs.storage.format_file import FORMAT_COPY_FILE, FORMAT_FILE, format_problems

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


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
    assert names_in(folder.root) == {
        "config.json", "format-copy.json", "format.json", "lmdb", "packs",
    }  # fmt: skip
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


# The format file and its copy


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("name", [FORMAT_FILE, FORMAT_COPY_FILE])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
def test_one_of_the_two_format_files_is_enough(
    tmp_path: Path, bare: bool, name: str, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    folder = create_folder(tmp_path, bare=bare)
    file = folder.root / name
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    (tmp_path / "below").mkdir()
    for path in (tmp_path, tmp_path / "below", folder.root):
        assert find_folder(path) == open_folder(path) == folder
    told = "is damaged" in caplog.text and "tvcs verify --repair" in caplog.text
    assert told is (name == FORMAT_FILE)
    check_format(folder)
    with pytest.raises(RepositoryExistsError):
        create_folder(tmp_path, bare=bare)


@pytest.mark.parametrize("bare", [False, True])
def test_every_bit_of_the_format_file_may_flip(tmp_path: Path, bare: bool) -> None:
    folder = create_folder(tmp_path, bare=bare)
    file = folder.root / FORMAT_FILE
    content = file.read_bytes()
    for at in range(len(content)):
        file.write_bytes(content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :])
        assert open_folder(tmp_path) == folder


@pytest.mark.parametrize("bare", [False, True])
def test_when_both_are_damaged_they_are_named(tmp_path: Path, bare: bool) -> None:
    folder = create_folder(tmp_path, bare=bare)
    for name in (FORMAT_FILE, FORMAT_COPY_FILE):
        (folder.root / name).write_bytes(b"{")
    with pytest.raises(ObjectDamagedError, match=r"format\.json .*format-copy\.json") as caught:
        open_folder(tmp_path)
    assert caught.value.hint is not None
    for name in (FORMAT_FILE, FORMAT_COPY_FILE):
        (folder.root / name).unlink()
    assert find_folder(tmp_path) is None


def test_the_good_case_reads_one_small_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_folder(tmp_path, bare=False)
    read: list[str] = []
    read_bytes = Path.read_bytes

    def count(path: Path) -> bytes:
        read.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", count)
    open_folder(tmp_path)
    assert read == [FORMAT_FILE]


class Killed(BaseException):
    """Ends the process, as far as the code under test knows."""


@pytest.mark.parametrize("steps", range(1, 9))
def test_a_bare_one_that_was_killed_between_its_format_files_is_begun_anew(
    tmp_path: Path, steps: int
) -> None:
    path = tmp_path / "repo"
    child = os.fork()
    if child == 0:
        seen = iter(range(100))

        def die(name: str) -> None:
            # Behind the settings, which are four steps, come those of the copy and of the file.
            if next(seen) == 4 + steps - 1:
                os.kill(os.getpid(), signal.SIGKILL)

        set_step_hook(die)
        create_folder(path, bare=True, settings={"who": "the first"})
        os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    is_whole = (path / FORMAT_FILE).exists()
    assert is_whole is (steps > 6)
    assert (path / FORMAT_COPY_FILE).exists() is (steps > 2)
    assert (find_folder(path) is not None) is is_whole
    if is_whole:
        assert list(format_problems(path)) == []
        return
    assert is_vacant(path, bare=True)
    # Looking has not made a repository of it.
    assert find_folder(path) is None
    folder = create_folder(path, bare=True, settings={"who": "the.second"})
    assert read_settings(folder) == {"who": "the.second"}
    assert list(format_problems(path)) == []
    assert names_in(path) == {"config.json", "format-copy.json", "format.json", "lmdb", "packs"}


def test_a_failure_behind_the_copy_leaves_nothing(tmp_path: Path) -> None:
    for error in (None, Killed()):

        def fail(name: str, error: BaseException | None = error) -> None:
            if (tmp_path / "repo" / FORMAT_COPY_FILE).exists() and name == "file written":
                raise error or OSError("no room")

        set_step_hook(fail)
        try:
            with pytest.raises((StorageError, Killed)):
                create_folder(tmp_path / "repo", bare=True)
        finally:
            set_step_hook(None)
        assert find_folder(tmp_path / "repo") is None
        assert not (tmp_path / "repo" / FORMAT_COPY_FILE).exists()
    create_folder(tmp_path / "repo", bare=True)


# The settings and their checksum


def test_no_flipped_bit_changes_a_setting(tmp_path: Path) -> None:
    folder = create_folder(tmp_path, bare=False, settings={"remote.origin.url": "/a", "a.b": "ö"})
    settings = read_settings(folder)
    content = folder.settings_file.read_bytes()
    for at in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        folder.settings_file.write_bytes(flipped)
        with pytest.raises(ObjectDamagedError, match=r"config\.json"):
            read_settings(folder)
    folder.settings_file.write_bytes(content)
    assert read_settings(folder) == settings


def test_settings_without_a_checksum_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = create_folder(tmp_path, bare=False, settings={"a.b": "c"})
    edited = folder.settings_file.read_text().replace('"c"', '"edited"')
    folder.settings_file.write_text(edited)
    with pytest.raises(ObjectDamagedError, match="edited by hand") as caught:
        read_settings(folder)
    assert caught.value.hint is not None
    assert "remove the line of 'crc32'" in caught.value.hint
    lines = [line for line in edited.splitlines() if "crc32" not in line]
    folder.settings_file.write_text("\n".join(lines))
    assert read_settings(folder) == {"a.b": "edited"}
    # As an older version keeps what it does not know.
    folder.settings_file.write_text('{"a.b": "kept", "crc32": "123"}')
    assert read_settings(folder) == {"a.b": "kept"}
    write_settings(folder, read_settings(folder))
    assert '"crc32": ' in folder.settings_file.read_text()
    assert read_settings(folder) == {"a.b": "kept"}
