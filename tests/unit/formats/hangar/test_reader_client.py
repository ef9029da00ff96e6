"""A reader that is not there, ends, talks nonsense, or sends sizes that are not true."""

from __future__ import annotations

import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorvcs.errors import MissingDependencyError, UnreadableFileError
from tensorvcs.formats.hangar.reader_client import HangarHistory, ReaderClient, decode_values
from tensorvcs.objects.schema import Schema

FRAMES = Path(__file__).resolve().parents[4] / "tensorvcs" / "formats" / "hangar"
PLACE = Path("theirs")


def interpreter(folder: Path, body: str) -> Path:
    """Return a program in the place of a Python: it has `send`, and runs `body`."""
    file = folder / "python"
    file.write_text(
        f"#!{sys.executable}\n"
        f"import sys\nsys.path.insert(0, {str(FRAMES)!r})\n"
        "from frames import read_frame, write_frame\n"
        "def send(payload=b'', **header):\n"
        "    write_frame(sys.stdout.buffer, header, payload)\n"
        f"{body}\n"
    )
    file.chmod(0o755)
    return file


def history_of(folder: Path, body: str) -> HangarHistory:
    with ReaderClient(PLACE, folder, interpreter(folder, body)) as reader:
        return reader.history()


REPOSITORY = "send(type='repository', branches={'b': 'a=1'}, head='b', staged_count=0, "
REPOSITORY += "unreachable_count=0)\n"


def test_a_history(tmp_path: Path) -> None:
    body = REPOSITORY + (
        "send(type='commit', commit='a=1', parents=[], time=1.5, message='m', user='u', "
        "email='e')\n"
        "send(type='end')"
    )
    found = history_of(tmp_path, body)
    assert (found.branches, found.head) == ({"b": "a=1"}, "b")
    assert found.commits["a=1"].seconds == 1.5


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("sys.exit(3)", r"it ended without an answer \(exit status 3\)$"),
        (
            "print('one\\n  two  \\n', file=sys.stderr)\nsys.exit(1)",
            r"it ended without an answer \(exit status 1, said last: two\)$",
        ),
        ("raise KeyError('x')", r"said last: KeyError: 'x'\)$"),
        ("print('Hangar is here to help you')", "a frame starts with b'Hang'"),
        ("sys.stdout.write('TVHG')", "the stream ends after 4 bytes of a frame"),
        (REPOSITORY, "it ended without an answer"),
        ("send(type='end')", "its history has no such form"),
        ("send(type='repository')\nsend(type='end')", "no such form: 'branches'"),
        (REPOSITORY + "send(type='commit')\nsend(type='end')", "no such form: 'commit'"),
        ("send(type='error', kind='content', reason='all wet')", "^theirs: all wet$"),
    ],
)
def test_a_reader_that_fails(tmp_path: Path, body: str, problem: str) -> None:
    with pytest.raises(UnreadableFileError, match=problem) as caught:
        history_of(tmp_path, body)
    assert str(caught.value).startswith("theirs: ")


def test_a_reader_that_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="nothing: it cannot be run: No such file"):
        ReaderClient(PLACE, tmp_path, tmp_path / "nothing")
    with pytest.raises(UnreadableFileError, match="it cannot be run: Permission denied"):
        ReaderClient(PLACE, tmp_path, tmp_path)


def test_an_interpreter_without_hangar(tmp_path: Path) -> None:
    """A real one: the reader itself runs in it."""
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    with (
        ReaderClient(PLACE, tmp_path, python) as reader,
        pytest.raises(MissingDependencyError, match="needs the package 'hangar'") as caught,
    ):
        reader.history()
    assert caught.value.hint == f"{python} -m pip install hangar"


def test_a_hangar_that_does_not_load(tmp_path: Path) -> None:
    body = "send(type='error', kind='package', reason='it does not load: No module named wrapt')"
    with pytest.raises(MissingDependencyError) as caught:
        history_of(tmp_path, body)
    assert caught.value.hint == (
        "it does not load: No module named wrapt; give another interpreter that has it: "
        "--python EXE"
    )


def test_the_process_ends_with_the_client(tmp_path: Path) -> None:
    client = ReaderClient(PLACE, tmp_path, interpreter(tmp_path, "read_frame(sys.stdin.buffer)"))
    client.close()
    client.close()
    assert client._child.returncode is not None


FIXED = Schema("ndarray", "int16", (2,))
RAGGED = Schema("ndarray", "int16", (9, 9), variable_shape=True)


def header(sizes: list[int], shapes: list[list[int]] | None = None) -> dict[str, Any]:
    return {"keys": list(range(len(sizes))), "sizes": sizes, "shapes": shapes or []}


def test_values() -> None:
    stack = np.arange(6, dtype="<i2")
    found = decode_values(header([4, 4, 4], [[2]]), bytearray(stack.tobytes()), FIXED)
    np.testing.assert_array_equal(found, stack.reshape(3, 2))
    ragged = decode_values(
        header([8, 0, 4], [[2, 2], [0, 9], [1, 2]]), bytearray(stack.tobytes()), RAGGED
    )
    assert [part.shape for part in ragged] == [(2, 2), (0, 9), (1, 2)]
    assert decode_values(header([2, 0, 1]), bytearray(b"abc"), Schema("bytes")) == [
        b"ab",
        b"",
        b"c",
    ]
    assert decode_values(header([3, 1]), bytearray("猫a".encode()), Schema("str")) == ["猫", "a"]


@pytest.mark.parametrize(
    ("fields", "payload", "schema"),
    [
        (header([4], [[2]]), b"12345", FIXED),
        (header([4], [[2]]), b"123", FIXED),
        (header([4, 4], [[2], [3]]), b"12345678", FIXED),
        (header([6], [[3]]), b"123456", FIXED),
        (header([2, 6], [[2]]), b"12345", FIXED),
        (header([-1, 5], []), b"1234", Schema("bytes")),
        ({"keys": [1, 2], "sizes": [4], "shapes": []}, b"1234", Schema("bytes")),
        (header([4], []), b"1234", RAGGED),
        (header([4], [[2, 2]]), b"1234", RAGGED),
        (header([1]), b"\xff", Schema("str")),
    ],
)
def test_sizes_that_contradict_each_other(
    fields: dict[str, Any], payload: bytes, schema: Schema
) -> None:
    with pytest.raises(ValueError, match=r"bytes|shape|decode|expected"):
        decode_values(fields, bytearray(payload), schema)


def test_broken_values_name_their_column(tmp_path: Path) -> None:
    with (
        ReaderClient(PLACE, tmp_path, interpreter(tmp_path, "")) as reader,
        pytest.raises(UnreadableFileError, match="values of column 'x': 1 keys and 4 bytes"),
    ):
        reader.values({"column": "x", **header([4], [[2]])}, bytearray(b"1"), FIXED)
