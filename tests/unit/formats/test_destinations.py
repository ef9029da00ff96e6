from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tensorvcs.errors import DestinationExistsError, StorageError
from tensorvcs.formats.destinations import (
    PathsTaken,
    check_folders,
    check_free,
    folded,
    key_of_path,
    path_of_key,
    whole_file,
)

if TYPE_CHECKING:
    from pathlib import Path

NASTY = [
    "..", "../../etc/passwd", "/etc/passwd", "//", "a//b", "a/", "/", ".", "./a", ".hidden", "a/.b",
    "C:\\Windows", "C:/x", "CON", "con.txt", "a/NUL.png", "COM1", "lpt9.x", "AUX ", "trail.",
    "end ", "...", " ", "a\nb", "\x7f", "\x85", "100%", "%2E%2E", "%00", "a%00", "a*?<>|\":", "é",
    "e\u0301", "a" * 1000, "%" * 300, "é" * 300, "x" * 197 + "CON.png", "x" * 197 + "/" + "." * 400,
    "\U0001f600" * 100, "\x01" * 300,
]  # fmt: skip

KEYS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60
) | st.text(st.sampled_from("./\\%a :C\x01é"), min_size=1, max_size=400)


def assert_harmless(path: str) -> None:
    assert not path.startswith("/")
    for part in path.split("/"):
        assert part
        assert len(part.encode()) <= 255
        assert part not in {".", ".."}
        assert part[0] not in ". "
        assert part[-1] not in ". "
        assert not set(part) & set('<>:"|?*\\')
        assert all(ord(c) >= 32 and not 127 <= ord(c) < 160 for c in part)
        assert part.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}
    assert str(PurePosixPath(path)) == path


@pytest.mark.parametrize("key", NASTY)
def test_nasty_keys_become_harmless_paths_and_back(key: str) -> None:
    assert_harmless(path_of_key(key))
    assert key_of_path(path_of_key(key)) == key


@given(KEYS)
def test_any_key_becomes_a_harmless_path_and_back(key: str) -> None:
    assert_harmless(path_of_key(key))
    assert key_of_path(path_of_key(key)) == key


@pytest.mark.parametrize("key", ["cat/1.png", "a b-c_d,(1).jpg", "日本/é.png", "a..b", "~x", "-x"])
def test_ordinary_keys_stay_as_they_are(key: str) -> None:
    assert path_of_key(key) == key


def test_int_keys() -> None:
    assert path_of_key(-12) == "-12"


@given(st.lists(KEYS, unique=True, max_size=8))
@example(["A.png", "a.png", "a.PNG", "b/é", "b/e\u0301", "STRASSE", "straße"])
@example(["a", "a/b", "a/b/c"])
def test_paths_are_distinct_where_case_does_not_count(keys: list[str]) -> None:
    full = [path_of_key(key) for key in keys]
    taken = PathsTaken(full)
    paths = [taken.take(path) for path in full]
    assert len({folded(path) for path in paths}) == len(paths)
    folders = {str(p) for path in paths for p in PurePosixPath(path).parents}
    assert not folders & set(paths)
    assert [key_of_path(path) for path in paths] == keys


def test_whole_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep/a.bin"
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"half")
        assert not path.exists()
        raise ZeroDivisionError
    assert list((tmp_path / "deep").iterdir()) == []
    with whole_file(path) as file:
        file.write(b"all")
    assert path.read_bytes() == b"all"
    assert list((tmp_path / "deep").iterdir()) == [path]


def test_whole_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write"), whole_file(tmp_path / "file/a"):
        pass


def test_existing_files_are_replaced_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    check_free([tmp_path / "b"], overwrite=False)
    check_free([tmp_path / "a"], overwrite=True)
    with pytest.raises(DestinationExistsError) as caught:
        check_free([tmp_path / "a"], overwrite=False)
    assert "--overwrite" in (caught.value.hint or "")
    for name in ("folder", "link"):
        with pytest.raises(DestinationExistsError, match="no plain file"):
            check_free([tmp_path / name], overwrite=True)


def test_folders_that_lead_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/link").symlink_to(tmp_path)
    (tmp_path / "out/file").write_bytes(b"")
    check_folders(tmp_path / "out", ["new/a", "b"])
    for path in ("link/a", "link/x/a", "file/a"):
        with pytest.raises(DestinationExistsError):
            check_folders(tmp_path / "out", [path])
