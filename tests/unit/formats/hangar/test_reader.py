"""The answers of the reader, over records without a Hangar behind them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from tensorvcs.formats.hangar import reader
from tensorvcs.formats.hangar.frames import read_frame
from tensorvcs.formats.hangar.hangar_repository import MissingValueError, ReadingError
from tensorvcs.formats.hangar.reader import Answer, Batch

if TYPE_CHECKING:
    from collections.abc import Collection

WORDS = {
    "kind": "str", "nested": False, "variable_shape": True, "dtype": "<class'str'>", "shape": None,
}  # fmt: skip


class Records:
    """Commits as dicts from key to text; a value is its own digest, and upper case is lost."""

    def __init__(self, commits: dict[str, dict[str, str]], made_anew: Collection[str] = ()) -> None:
        self._commits = commits
        self._made_anew = made_anew
        self.asked: list[str] = []
        self.held: list[str] = []

    def columns(self, digest: str) -> dict[str, dict[str, Any]]:
        if not digest:
            return {}
        return {"w": {**WORDS, "nested": digest in self._made_anew}}

    def records(self, digest: str) -> bytes:
        samples = [f"f:w:{key} {text}" for key, text in self._commits[digest].items()]
        return "$".join(sorted([*samples, "s:w:f 1=0"])).encode()

    def keep_records_of(self, digests: list[str]) -> None:
        self.held = digests

    def value(self, digest: bytes, schema: dict[str, Any]) -> str:
        self.asked.append(digest.decode())
        if digest.isupper():
            raise MissingValueError("gone")
        return digest.decode()


def frames(records: Records, commit: str, *parents: str, allow_missing: bool = False) -> list[Any]:
    out = io.BytesIO()
    answers: Any = Answer(records, out)  # type: ignore[arg-type]
    answers.changes({"commit": commit, "parents": [*parents], "allow_missing": allow_missing})
    out.seek(0)
    return list(iter(lambda: read_frame(out), None))


def test_a_first_commit() -> None:
    columns, values = frames(Records({"c": {"a": "x", "b": "yy"}}), "c")
    assert columns == (
        {"type": "columns", "base": "", "deleted": [], "created": {"w": WORDS}},
        b"",
    )
    assert values == (
        {"type": "values", "column": "w", "keys": ["a", "b"], "shapes": [], "sizes": [1, 2]},
        b"xyy",
    )


def test_only_what_changed_is_asked_for() -> None:
    records = Records({"p": {"a": "x", "b": "y", "c": "z"}, "c": {"a": "x", "b": "new"}})
    columns, gone, values = frames(records, "c", "p")
    assert (columns[0]["base"], columns[0]["created"], columns[0]["deleted"]) == ("p", {}, [])
    assert gone[0] == {"type": "gone", "column": "w", "keys": ["c"]}
    assert (values[0]["keys"], values[1]) == (["b"], b"new")
    assert records.asked == ["new"]
    assert records.held == ["c", "p"]


def test_the_parent_with_most_in_common() -> None:
    base = {f"k{n}": "x" for n in range(9)}
    records = Records(
        {
            "ours": {**base, "o": "1"},
            "theirs": {**base, "t1": "1", "t2": "2", "t3": "3"},
            "merge": {**base, "o": "1", "t1": "1", "t2": "2", "t3": "3"},
        }
    )
    columns, values = frames(records, "merge", "ours", "theirs")
    assert columns[0]["base"] == "theirs"
    assert values[0]["keys"] == ["o"]


def test_a_column_made_anew_is_deleted_and_read_whole() -> None:
    records = Records({"p": {"a": "x", "b": "y"}, "c": {"a": "x"}}, made_anew={"c"})
    columns, values = frames(records, "c", "p")
    assert columns[0]["deleted"] == ["w"]
    assert list(columns[0]["created"]) == ["w"]
    # Nothing is deleted sample by sample from a column that is deleted.
    assert (values[0]["type"], values[0]["keys"]) == ("values", ["a"])


def test_a_value_that_is_lost() -> None:
    records = Records({"c": {"a": "x", "b": "LOST", "c": "z"}})
    with pytest.raises(ReadingError, match=r"^column 'w', key \"b\": gone$") as caught:
        frames(records, "c")
    assert caught.value.kind == "missing"
    _, missing, values = frames(records, "c", allow_missing=True)
    assert missing[0] == {"type": "missing", "column": "w", "key": "b", "reason": "gone"}
    assert values[0]["keys"] == ["a", "c"]


def test_batches_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "VALUES_COUNT", 3)
    monkeypatch.setattr(reader, "VALUES_NBYTES", 10)
    records = Records({"c": {"a": "x", "b": "x", "c": "x", "d": "x" * 12, "e": "x", "f": "x"}})
    _, *batches = frames(records, "c")
    assert [header["keys"] for header, _ in batches] == [["a", "b", "c"], ["d"], ["e", "f"]]


def test_one_shape_for_all_values_of_a_fixed_shape() -> None:
    np = pytest.importorskip("numpy")
    fixed = Batch("x", {"kind": "ndarray", "variable_shape": False})
    ragged = Batch("x", {"kind": "ndarray", "variable_shape": True})
    for batch in (fixed, ragged):
        for key in range(3):
            batch.add(key, np.zeros((2, 3), np.uint8))
    assert (fixed.shapes, ragged.shapes) == ([[2, 3]], [[2, 3]] * 3)
    fixed.add(4, np.zeros(5, np.uint8))  # damaged, and the other end will say so
    assert fixed.shapes == [[2, 3], [5]]
