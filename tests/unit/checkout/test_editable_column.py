"""Editing: what is staged reads back at once, and a refused call stages nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorvcs.checkout import editable_column, staging
from tensorvcs.errors import (
    ClosedError,
    DuplicateKeyError,
    InvalidInputError,
    InvalidKeyError,
    SampleNotFoundError,
    SchemaMismatchError,
    TensorVCSError,
)
from tests import model
from tests.memory_repository import MemoryRepository, contents_of
from tests.strategies import FEW_KEYS

IMAGE = np.arange(100, dtype=np.uint8).reshape(10, 10)


def add_columns(co: Any) -> None:
    co.add_ndarray_column("images", (10, 10), "uint8")
    co.add_ndarray_column("labels", (), "int64")
    co.add_ndarray_column("points", (3,), "float32")
    co.add_ndarray_column("crops", (10, None), "uint8", variable_shape=True)
    co.add_str_column("texts")
    co.add_bytes_column("blobs")
    co.add_ndarray_column("scans", (10, 10), "uint8", nested=True)


@pytest.fixture
def co(repo: Any) -> Any:
    """An editor with a sample committed, one flushed, and one that waits in memory."""
    with repo.edit() as editor:
        add_columns(editor)
        for key in ("committed", "flushed", "waiting"):
            editor["images"][key] = IMAGE
            editor["labels"][key] = 7
            editor["points"][key] = [1, 2, 3]
            editor["crops"][key] = IMAGE
            editor["texts"][key] = "é"
            editor["blobs"][key] = b"\0"
            editor["scans"][key] = {"s": IMAGE, 1: IMAGE}
            if key == "committed":
                editor.commit("first")
            if key == "flushed":
                editor.flush()
        yield editor


def state_of(co: Any) -> Any:
    """Return what is staged, and what is in the store, as far as a reader can see."""
    return contents_of(co.columns), {n: d.stat() for n, d in co.diff().columns.items()}


BIG = np.iinfo(np.int64).max

# Each is a call that must be refused, and by which error.
REFUSED: list[tuple[str, Any, type[TensorVCSError]]] = [
    ("wrong dtype", lambda co: co["images"].update({"a": IMAGE.astype("i4")}), SchemaMismatchError),
    ("wrong shape", lambda co: co["images"].update({"a": IMAGE[1:]}), SchemaMismatchError),
    ("wrong ndim", lambda co: co["images"].update({"a": IMAGE[None]}), SchemaMismatchError),
    ("too large", lambda co: co["crops"].update({"a": np.zeros((11, 1), "u1")}),
     SchemaMismatchError),
    ("wrong ndim, variable", lambda co: co["crops"].update({"a": IMAGE[0]}), SchemaMismatchError),
    ("a list that does not fit", lambda co: co["labels"].update({"a": 1, "b": 0.5}),
     SchemaMismatchError),
    ("ragged", lambda co: co["points"].update({"a": [[1], [1, 2]]}), SchemaMismatchError),
    ("object array", lambda co: co["points"].update({"a": np.array([1, 2, 3], object)}),
     SchemaMismatchError),
    ("object stack", lambda co: co["points"].extend(np.array([[1, 2, None]], object)),
     SchemaMismatchError),
    ("masked", lambda co: co["points"].extend(np.ma.zeros((2, 3), "f4")), SchemaMismatchError),
    ("None", lambda co: co["labels"].update({"a": None}), SchemaMismatchError),
    ("bytes for text", lambda co: co["texts"].update({"a": "b", "b": b"a"}), SchemaMismatchError),
    ("text for bytes", lambda co: co["blobs"].update({"a": "a"}), SchemaMismatchError),
    ("a surrogate in a text", lambda co: co["texts"].update({"a": "\ud800"}), SchemaMismatchError),
    ("assigned", lambda co: co["images"].__setitem__("waiting", IMAGE[1:]), SchemaMismatchError),
    ("True as a key", lambda co: co["labels"].__setitem__(True, 1), InvalidKeyError),
    ("True among keys", lambda co: co["labels"].extend([1, 2], keys=[1, True]), InvalidKeyError),
    ("an empty key", lambda co: co["labels"].__setitem__("", 1), InvalidKeyError),
    ("a long key", lambda co: co["labels"].__setitem__("k" * 10_000, 1), InvalidKeyError),
    ("a surrogate", lambda co: co["labels"].update({"a": 1, "\ud800": 1}), InvalidKeyError),
    ("a float key", lambda co: co["labels"].update({"a": 1, 1.0: 1}), InvalidKeyError),
    ("a huge key", lambda co: co["labels"].update({"a": 1, 2**63: 1}), InvalidKeyError),
    ("float keys", lambda co: co["labels"].extend([1], keys=np.array([0.5])), InvalidKeyError),
    ("a key twice", lambda co: co["labels"].extend([1, 2, 3], keys=["a", "b", "a"]),
     DuplicateKeyError),
    ("an int twice", lambda co: co["images"].extend(np.stack([IMAGE, IMAGE]), keys=[5, 5]),
     DuplicateKeyError),
    ("pairs with a key twice", lambda co: co["texts"].update([("a", "x"), ("a", "y")]),
     DuplicateKeyError),
    ("too few keys", lambda co: co["labels"].extend([1, 2], keys=["a"]), InvalidInputError),
    ("too many keys", lambda co: co["labels"].extend(np.array([1]), keys=range(3)),
     InvalidInputError),
    ("one text for many", lambda co: co["texts"].extend("ab"), SchemaMismatchError),
    ("a stack of another dtype", lambda co: co["images"].extend(np.zeros((2, 10, 10))),
     SchemaMismatchError),
    ("a stack of another shape", lambda co: co["images"].extend(np.zeros((2, 9, 10), "u1")),
     SchemaMismatchError),
    ("no stack", lambda co: co["labels"].extend(np.array(3)), SchemaMismatchError),
    ("one number for many", lambda co: co["labels"].extend(3), SchemaMismatchError),
    ("one array for many", lambda co: co["crops"].extend(np.array(3)), SchemaMismatchError),
    ("a mapping for many", lambda co: co["texts"].extend({"a": "b"}), InvalidInputError),
    ("a stack of another ndim", lambda co: co["images"].extend(IMAGE), SchemaMismatchError),
    ("deleting what is not there", lambda co: co["labels"].__delitem__("absent"),
     SampleNotFoundError),
    ("deleting True", lambda co: co["labels"].__delitem__(True), InvalidKeyError),
    ("popping what is not there", lambda co: co["labels"].pop("absent"), SampleNotFoundError),
    ("deleting many", lambda co: co["labels"].delete_many(["waiting", "absent"]),
     SampleNotFoundError),
    ("a subsample that is none", lambda co: co["scans"].update({"a": {"s": IMAGE, "t": IMAGE[0]}}),
     SchemaMismatchError),
    ("a sample that is no mapping", lambda co: co["scans"].__setitem__("waiting", IMAGE),
     SchemaMismatchError),
    ("samples that are no mappings", lambda co: co["scans"].update({"a": {"s": IMAGE}, "b": IMAGE}),
     SchemaMismatchError),
    ("a subsample under True", lambda co: co["scans"]["waiting"].update({"a": IMAGE, True: IMAGE}),
     InvalidKeyError),
    ("replacing by a bad one", lambda co: co["scans"].__setitem__("waiting", {"s": IMAGE[0]}),
     SchemaMismatchError),
    ("deleting no sample", lambda co: co["scans"].__delitem__("absent"), SampleNotFoundError),
    ("deleting no subsample", lambda co: co["scans"]["waiting"].__delitem__("x"),
     SampleNotFoundError),
    ("popping no subsample", lambda co: co["scans"]["absent"].pop("x"), SampleNotFoundError),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_a_refused_call_changes_nothing(co: Any, call: Any, error: type[TensorVCSError]) -> None:
    assert co._staged.pending("images", b"waiting") is not None
    with pytest.raises(error):
        call(co)
    assert state_of(co) == state_of_fixture()
    co.commit("goes on")


def state_of_fixture() -> Any:
    """What the fixture `co` has, from a repository that never saw a refused call."""
    if not _EXPECTED:
        repo = MemoryRepository()
        with repo.edit() as editor:
            add_columns(editor)
            for key in ("committed", "flushed", "waiting"):
                values = {
                    "images": IMAGE, "labels": 7, "points": [1, 2, 3], "crops": IMAGE,
                    "texts": "é", "blobs": b"\0", "scans": {"s": IMAGE, 1: IMAGE},
                }  # fmt: skip
                for name, value in values.items():
                    editor[name, key] = value
                if key == "committed":
                    editor.commit("first")
            _EXPECTED.append(state_of(editor))
    return _EXPECTED[0]


_EXPECTED: list[Any] = []


def test_a_mismatch_says_where_what_and_what_was_expected(co: Any) -> None:
    with pytest.raises(SchemaMismatchError) as caught:
        co["images"].update({"good": IMAGE, "bad": IMAGE[1:]})
    assert str(caught.value) == (
        "column 'images', key 'bad': wrong shape (found (9, 10), expected (10, 10))"
    )
    with pytest.raises(SchemaMismatchError, match=r"column 'scans', key \('s', 1\): wrong dtype"):
        co["scans"]["s"][1] = IMAGE.astype("i2")
    with pytest.raises(SchemaMismatchError, match="column 'images': wrong dtype"):
        co["images"].extend(IMAGE[None].astype("f8"))


@pytest.mark.parametrize("name", ["images", "labels", "points", "crops", "texts", "blobs"])
def test_what_is_assigned_reads_back_before_any_flush(co: Any, name: str) -> None:
    values: dict[str, Any] = {
        "images": IMAGE + 1, "labels": np.int64(3), "points": np.array([4, 5, 6], "f4"),
        "crops": IMAGE[:2], "texts": "new", "blobs": b"new",
    }  # fmt: skip
    column = co[name]
    for key in ("committed", "flushed", "waiting", "fresh", 5):
        column[key] = values[name]
        assert key in column
        found = column[key]
        assert np.array_equal(found, values[name]) and type(found) is not np.int64
        del column[key]
        assert key not in column
        with pytest.raises(SampleNotFoundError):
            column[key]
        column[key] = values[name]
        assert np.array_equal(column.pop(key), values[name])
        assert column.pop(key, "gone") == "gone"
    assert len(column) == 0


def test_the_caller_may_change_the_array_afterwards(co: Any) -> None:
    """At once, after a block and before the flush: the store has its own copy."""
    one, many, crop = IMAGE.copy(), np.stack([IMAGE] * 20_000), IMAGE.copy()
    co["images"]["one"] = one
    co["images"].extend(many, keys=range(20_000))
    co["crops"].update({"crop": crop})
    co["scans"].update({"scan": {1: one}})
    one[:] = many[:] = crop[:] = 0
    for _ in range(2):
        assert np.array_equal(co["images"]["one"], IMAGE)
        assert np.array_equal(co["images"][19_999], IMAGE)
        assert np.array_equal(co["crops"]["crop"], IMAGE)
        assert np.array_equal(co["scans"]["scan"][1], IMAGE)
        co.flush()


def test_what_is_read_may_be_changed(co: Any) -> None:
    for key in ("committed", "flushed", "waiting"):
        co["images"][key][:] = 0
        assert np.array_equal(co["images"][key], IMAGE)


def test_odd_arrays_are_taken_as_what_they_hold(co: Any) -> None:
    images = co["images"]
    images["fortran"] = np.asfortranarray(IMAGE)
    images["strided"] = np.repeat(IMAGE, 2, axis=1)[:, ::2]
    images["list"] = IMAGE.tolist()
    images["read-only"] = np.frombuffer(IMAGE.tobytes(), np.uint8).reshape(10, 10)
    images.extend(np.asfortranarray(np.stack([IMAGE, IMAGE])), keys=["stack/1", "stack/2"])
    images.extend((IMAGE for _ in range(2)), keys=["gen/1", "gen/2"])
    co["points"]["big-endian"] = np.array([1, 2, 3], ">f4")
    co["labels"]["big-endian"] = np.array(7, ">i8")
    for key in images:
        assert np.array_equal(images[key], IMAGE)
    assert co["points"]["big-endian"].tobytes() == co["points"]["committed"].tobytes()
    co.commit("odd")
    # All of them are one value in the store.
    state = co._staged.columns["images"]
    stored = co._settled_reader("images")
    from tensorvcs.tree import cursor

    found = cursor.values_at(stored.nodes, state.tree, 0, state.tree.count)
    assert len({row.tobytes() for row in found}) == 1


def test_nan_and_the_sign_of_zero_stay(co: Any) -> None:
    odd = np.array([0x7FC00123, 0x80000000, 0xFF800000], np.uint32).view(np.float32)
    co["points"]["odd"] = odd
    co["points"].extend(odd[None], keys=["bulk"])
    co.commit("odd")
    for key in ("odd", "bulk"):
        assert co["points"][key].tobytes() == odd.tobytes()


def test_ints_and_texts_are_keys_side_by_side(co: Any) -> None:
    labels = co["labels"]
    labels.update({10: 1, "10": 2, -1: 3, "a/../b": 4, "..": 5, "a\nb": 6, "\U0001f600": 7})
    assert (labels[10], labels["10"]) == (1, 2)
    assert list(labels) == [
        -1, 10, "..", "10", "a\nb", "a/../b", "committed", "flushed", "waiting", "\U0001f600",
    ]  # fmt: skip


def test_keys_are_made_up_when_none_are_given(co: Any) -> None:
    labels = co["labels"]
    assert list(labels.extend([1, 2])) == [0, 1]
    labels[10] = 0
    assert list(labels.extend(np.array([1, 2]))) == [11, 12]
    assert list(labels.extend([])) == []
    del labels[12]
    assert list(labels.extend([5])) == [12]
    assert list(co["texts"].extend(["a"])) == [0]
    co["texts"].clear()
    co["texts"][-5] = "x"
    assert list(co["texts"].extend(["a"])) == [0]
    labels[BIG] = 1
    with pytest.raises(InvalidKeyError):
        labels.extend([1])


def test_a_large_call_goes_in_parts_and_as_a_whole_or_not_at_all(
    co: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editable_column, "FLUSH_ROWS", 100)
    monkeypatch.setattr("tensorvcs.checkout.editor.FLUSH_ROWS", 100)
    labels = co["labels"]
    before = dict(labels.items())
    keys = [f"k{n}" for n in range(450)]
    with pytest.raises(DuplicateKeyError):
        labels.extend(np.arange(451), keys=[*keys, "k3"])
    with pytest.raises(SchemaMismatchError):
        labels.extend(np.zeros((450, 2), np.int64), keys=keys)
    with pytest.raises(InvalidKeyError):
        labels.extend(np.arange(451), keys=[*keys, ""])
    assert dict(labels.items()) == before
    labels.extend(np.arange(450), keys=keys)
    assert co._staged.row_count == 50
    assert [labels[key] for key in keys] == list(range(450))
    co["texts"].extend([str(n) for n in range(450)], keys=keys)
    assert [co["texts"][key] for key in keys] == [str(n) for n in range(450)]


def test_many_single_values_become_blocks(co: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "PENDING_NBYTES", 1000)
    for n in range(50):
        co["images"][n] = IMAGE + n
        co["crops"][f"c{n}"] = IMAGE[: n % 10]
        assert np.array_equal(co["images"][n // 2], IMAGE + n // 2)
    co["images"][3] = IMAGE
    del co["images"][4]
    assert len(co["images"]) == 3 + 49
    assert np.array_equal(co["images"][3], IMAGE)
    assert 4 not in co["images"]
    assert co["crops"]["c13"].shape == (3, 10)


def test_nothing_can_be_written_after_the_end(repo: Any) -> None:
    with repo.edit() as co:
        add_columns(co)
        co["scans"]["a"] = {"b": IMAGE}
        co["labels"]["a"] = 1
        sub, scans, labels = co["scans"]["a"], co["scans"], co["labels"]
    calls = [
        lambda: labels.__setitem__("a", 2),
        lambda: labels.__delitem__("a"),
        lambda: labels.update({"a": 2}),
        lambda: labels.extend([1]),
        lambda: labels.pop("a"),
        labels.clear,
        lambda: labels.delete_many(["a"]),
        lambda: scans.__setitem__("a", {}),
        lambda: scans.__delitem__("a"),
        lambda: scans.update({"a": {}}),
        lambda: sub.__setitem__("b", IMAGE),
        lambda: sub.__delitem__("b"),
        lambda: sub.update({"b": IMAGE}),
        lambda: co.add_str_column("x"),
        lambda: co.rename_column("labels", "x"),
        lambda: co.__delitem__("labels"),
        lambda: co.commit("x"),
        co.flush,
        co.reset,
        co.__enter__,
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()
    co.close()
    co.abandon()


class _Steps:
    """Draws of edits, applied to a column and to a dict."""

    STEP = st.one_of(
        st.tuples(st.just("put"), FEW_KEYS, st.integers(0, 3)),
        st.tuples(st.just("delete"), FEW_KEYS),
        st.tuples(st.just("update"), st.dictionaries(FEW_KEYS, st.integers(0, 3), max_size=4)),
        st.tuples(st.just("flush")),
        st.tuples(st.just("read"), FEW_KEYS),
        st.tuples(st.just("clear")),
        st.tuples(st.just("list")),
        st.tuples(st.just("commit")),
    )


@settings(max_examples=80)
@given(st.lists(_Steps.STEP, max_size=25), st.sampled_from(["labels", "images", "texts"]))
def test_any_edits_leave_what_they_leave_in_a_dict(steps: list[Any], name: str) -> None:
    def value(n: int) -> Any:
        return {"labels": n, "images": np.full((10, 10), n, np.uint8), "texts": str(n)}[name]

    def plain(found: Any) -> int:
        return int(found) if name != "images" else int(found[0, 0])

    repo = MemoryRepository()
    expected: dict[Any, int] = {}
    with repo.edit() as co:
        add_columns(co)
        column = co[name]
        for step, *given_ in steps:
            match step:
                case "put":
                    column[given_[0]] = value(given_[1])
                    expected[given_[0]] = given_[1]
                case "delete":
                    assert (column.pop(given_[0], None) is None) == (given_[0] not in expected)
                    expected.pop(given_[0], None)
                case "update":
                    column.update({key: value(n) for key, n in given_[0].items()})
                    expected.update(given_[0])
                case "flush":
                    co.flush()
                case "read":
                    found = column.get(given_[0])
                    assert (None if found is None else plain(found)) == expected.get(given_[0])
                case "clear":
                    column.clear()
                    expected = {}
                case "list":
                    assert list(column) == model.in_key_order(expected)
                case "commit":
                    columns = {n: dict.fromkeys(co[n], 0) for n in co}
                    if co.is_dirty:
                        co.commit("step")
                    assert columns == {n: dict.fromkeys(co[n], 0) for n in co}
        assert {key: plain(v) for key, v in column.items()} == expected
