"""The format file and its copy: either is enough, and no bit of them turns into another format."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tensorvcs
from tensorvcs.errors import ObjectDamagedError, StorageError, UnsupportedFormatError
from tensorvcs.storage import format_file
from tensorvcs.storage.format_file import (
    FORMAT_COPY_FILE,
    FORMAT_FILE,
    Format,
    FormatFile,
    check_known,
    check_of,
    choose,
    encode_format,
    encode_json,
    format_problems,
    judge,
    look_at,
    mend_format,
    says_bare,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKING = Format(1, (), is_bare=False)
BARE = Format(1, (), is_bare=True)
NEWER = Format(2, ("shards",), is_bare=False)
# As versions before the checksum wrote it.
OLD = b'{\n  "format": "tensorvcs",\n  "version": 1,\n  "features": [],\n  "bare": false\n}\n'


def flips(content: bytes) -> Iterator[bytes]:
    """Yield a content with each of its bits flipped."""
    for at, bit in itertools.product(range(len(content)), range(8)):
        yield content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]


def main_of(content: bytes | None) -> FormatFile:
    return file_of(FORMAT_FILE, content)


def copy_of(content: bytes | None) -> FormatFile:
    return file_of(FORMAT_COPY_FILE, content)


def file_of(name: str, content: bytes | None) -> FormatFile:
    path = Path("/x") / name
    if content is None:
        return FormatFile(path, is_there=False, problem="it is missing")
    return judge(path, content)


def write_both(root: Path, main: bytes | None, copy: bytes | None) -> None:
    for name, content in ((FORMAT_FILE, main), (FORMAT_COPY_FILE, copy)):
        (root / name).unlink(missing_ok=True)
        if content is not None:
            (root / name).write_bytes(content)


@pytest.mark.parametrize("described", [WORKING, BARE, NEWER])
def test_what_is_written_is_read(described: Format) -> None:
    content = encode_format(described)
    found = main_of(content)
    assert (found.format, found.is_checked, found.problem) == (described, True, "")
    assert says_bare(content) is described.is_bare
    # Any spelling of the same JSON is the same.
    fields = json.loads(content)
    respelled = json.dumps(dict(sorted(fields.items(), reverse=True))).encode()
    assert judge(found.path, respelled).format == described


def test_the_page_about_the_format_shows_one() -> None:
    page = Path(tensorvcs.__file__).parent / "storage" / "FORMAT.md"
    shown = re.search(r'\| `(\{"format": "tensorvcs".*?\})`', page.read_text())
    assert shown is not None
    assert main_of(shown[1].encode()).format == WORKING
    assert json.loads(shown[1]) == json.loads(encode_format(WORKING))


@pytest.mark.parametrize("described", [WORKING, BARE, NEWER])
def test_no_flipped_bit_changes_what_holds(described: Format) -> None:
    content = encode_format(described)
    whole = main_of(content)
    for flipped in flips(content):
        damaged = main_of(flipped)
        # Its checksum is wrong or gone.
        assert not damaged.is_checked
        assert choose(damaged, copy_of(content)).format == described
        assert choose(whole, copy_of(flipped)) == whole
        # Without a copy, what is read must be what was written, or nothing.
        try:
            left = choose(damaged, copy_of(None)).format
        except (ObjectDamagedError, UnsupportedFormatError):
            continue
        assert left == described


def test_the_same_bit_in_both_is_never_another_format() -> None:
    content = encode_format(WORKING)
    for flipped in flips(content):
        with pytest.raises((ObjectDamagedError, UnsupportedFormatError)):
            choose(main_of(flipped), copy_of(flipped))


@pytest.mark.parametrize(
    ("main", "copy"),
    [
        (b"{", None),
        (None, None),
        (b"{", b"{"),
        (None, OLD),
        (b"[]", OLD),
        (OLD, b"{"),
        (OLD, OLD),
        (OLD, encode_format(BARE)),
        (OLD, encode_format(NEWER)),
        (encode_format(WORKING).replace(b"1", b"2", 1), None),
    ],
)
def test_when_neither_can_be_relied_upon_both_are_named(
    main: bytes | None, copy: bytes | None
) -> None:
    with pytest.raises(ObjectDamagedError, match=r"format file /x/format\.json .*/x/format-copy"):
        choose(main_of(main), copy_of(copy))
    try:
        choose(main_of(main), copy_of(copy))
    except ObjectDamagedError as error:
        assert error.hint is not None
        assert "from a backup" in error.hint


def test_the_format_file_holds_before_its_copy() -> None:
    # Somebody who raises the version writes the copy first, and may be killed behind it.
    main, copy = main_of(encode_format(WORKING)), copy_of(encode_format(NEWER))
    assert choose(main, copy) == main
    assert choose(main_of(None), copy) == copy


def test_one_of_an_older_version_holds_alone() -> None:
    old = main_of(OLD)
    assert old.format == WORKING
    assert choose(old, copy_of(None)) == old
    copy = copy_of(encode_format(WORKING))
    assert choose(old, copy) == copy


def test_one_without_checksum_that_is_from_the_future_is_refused() -> None:
    with pytest.raises(UnsupportedFormatError, match="format version 2"):
        choose(main_of(OLD.replace(b"1", b"2")), copy_of(encode_format(WORKING)))
    with pytest.raises(UnsupportedFormatError, match="shards"):
        check_known(replace(WORKING, features=("shards",)), Path("/x"))


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "other", "version": 1, "features": [], "bare": False},
        {"format": "tensorvcs", "version": 1, "features": []},
        {"format": "tensorvcs", "version": True, "features": [], "bare": False},
        {"format": "tensorvcs", "version": 0, "features": [], "bare": False},
        {"format": "tensorvcs", "version": 1, "features": [1], "bare": False},
        {"format": "tensorvcs", "features": [], "bare": False},
    ],
    ids=str,
)
def test_a_right_checksum_is_not_enough(fields: dict[str, object]) -> None:
    found = main_of(encode_json(fields | {"crc32": check_of(fields)}))
    assert found.format is None
    assert found.problem
    assert not found.is_checked


@pytest.mark.parametrize("check", ["1", None, True, 1.5, -1, [], 2**64])
def test_a_checksum_is_a_number_that_is_right(check: object) -> None:
    fields = json.loads(encode_format(WORKING)) | {"crc32": check}
    assert main_of(encode_json(fields)).problem == "its checksum is wrong"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "x", "bare": true}', b"\xff"])
def test_whether_it_is_bare_cannot_be_told(content: bytes) -> None:
    assert says_bare(content) is None
    assert says_bare(b"[" * 100_000) is None


SOUND, DAMAGED = encode_format(WORKING), encode_format(WORKING).replace(b"version", b"versiom")


@pytest.mark.parametrize(
    ("main", "copy", "problems", "written"),
    [
        (SOUND, SOUND, {}, []),
        (SOUND, None, {FORMAT_COPY_FILE: "it is missing"}, [FORMAT_COPY_FILE]),
        (SOUND, DAMAGED, {FORMAT_COPY_FILE: "its checksum is wrong"}, [FORMAT_COPY_FILE]),
        (SOUND, OLD, {FORMAT_COPY_FILE: "it has no checksum"}, [FORMAT_COPY_FILE]),
        (
            SOUND,
            encode_format(NEWER),
            {FORMAT_COPY_FILE: "it says another format than format.json"},
            [FORMAT_COPY_FILE],
        ),
        (None, SOUND, {FORMAT_FILE: "it is missing"}, [FORMAT_FILE]),
        (DAMAGED, SOUND, {FORMAT_FILE: "its checksum is wrong"}, [FORMAT_FILE]),
        (OLD, SOUND, {FORMAT_FILE: "it has no checksum"}, [FORMAT_FILE]),
        # What an older version made is whole, and gets what it lacks.
        (OLD, None, {}, [FORMAT_COPY_FILE, FORMAT_FILE]),
    ],
)
def test_what_is_wrong_is_told_and_mended(
    tmp_path: Path,
    main: bytes | None,
    copy: bytes | None,
    problems: dict[str, str],
    written: list[str],
) -> None:
    write_both(tmp_path, main, copy)
    found = list(format_problems(tmp_path))
    assert {name: error.problem for name, error in found} == problems
    assert all(error.hint and "tvcs verify --repair" in error.hint for _, error in found)
    assert mend_format(tmp_path) == written
    assert list(format_problems(tmp_path)) == []
    assert {path.name for path in tmp_path.iterdir()} == {FORMAT_FILE, FORMAT_COPY_FILE}
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {SOUND}
    assert mend_format(tmp_path) == []


def test_what_a_newer_program_wrote_beside_what_is_known_is_kept(tmp_path: Path) -> None:
    fields = {"format": "tensorvcs", "version": 1, "features": [], "bare": True, "more": "x"}
    content = json.dumps(fields | {"crc32": check_of(fields)}).encode()
    write_both(tmp_path, None, content)
    assert mend_format(tmp_path) == [FORMAT_FILE]
    assert (tmp_path / FORMAT_FILE).read_bytes() == content


def test_nothing_is_written_where_neither_can_be_relied_upon(tmp_path: Path) -> None:
    write_both(tmp_path, DAMAGED, b"{")
    assert [name for name, _ in format_problems(tmp_path)] == [FORMAT_FILE, FORMAT_COPY_FILE]
    with pytest.raises(ObjectDamagedError):
        mend_format(tmp_path)
    write_both(tmp_path, None, encode_format(NEWER))
    with pytest.raises(UnsupportedFormatError):
        mend_format(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {FORMAT_COPY_FILE}


def test_a_repair_that_is_refused_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_both(tmp_path, DAMAGED, SOUND)

    def refuse(temporary: Path, final: Path) -> None:
        raise StorageError(f"no room for {final}")

    with monkeypatch.context() as patch:
        patch.setattr(format_file, "publish", refuse)
        with pytest.raises(StorageError, match="no room"):
            mend_format(tmp_path)
    assert (tmp_path / FORMAT_FILE).read_bytes() == DAMAGED
    assert {path.name for path in tmp_path.iterdir()} == {FORMAT_FILE, FORMAT_COPY_FILE}
    with pytest.raises(StorageError, match="cannot lock"):
        mend_format(tmp_path / "nowhere")


def test_one_that_cannot_be_read_is_told_from_one_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / FORMAT_FILE).mkdir()
    found = look_at(tmp_path / FORMAT_FILE)
    assert found.is_there
    assert found.problem.startswith("it cannot be read: ")
    assert look_at(tmp_path / FORMAT_COPY_FILE).problem == "it is missing"
