"""The editor: columns, flushes, commits and what remains when something goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.checkout import editor as editor_module
from tensorvcs.errors import (
    ColumnExistsError,
    ColumnNotFoundError,
    IdentityMissingError,
    InvalidColumnError,
    InvalidInputError,
    NothingToCommitError,
    StorageError,
    TensorVCSError,
)
from tensorvcs.objects.commit import Identity
from tests.memory_repository import ADA, MemoryRepository, contents_of

if TYPE_CHECKING:
    from collections.abc import Callable


def add_labels(co: Any, name: str = "labels") -> Any:
    return co.add_ndarray_column(name, (), "int64")


@pytest.mark.parametrize(
    ("arguments", "spelling"),
    [
        ({"shape": (2, 3), "dtype": "float32"}, "float32 (2, 3)"),
        ({"shape": 3, "dtype": np.uint8}, "uint8 (3)"),
        ({"shape": np.int64(3), "dtype": ">i4"}, "int32 (3)"),
        ({"shape": [2, 3], "dtype": bool}, "bool (2, 3)"),
        ({"shape": np.array([2, 3]), "dtype": bool}, "bool (2, 3)"),
        ({"shape": (), "dtype": int}, "int64 ()"),
        ({"prototype": np.zeros((4, 5), "c8")}, "complex64 (4, 5)"),
        ({"prototype": [[1.5]]}, "float64 (1, 1)"),
        ({"prototype": np.zeros((4, 5)), "dtype": "f2"}, "float16 (4, 5)"),
        (
            {"shape": (None, 3), "dtype": "u1", "variable_shape": True, "nested": True},
            "nested uint8 ≤(*, 3)",
        ),
    ],
)
def test_a_column_of_arrays(repo: Any, arguments: dict[str, Any], spelling: str) -> None:
    with repo.edit() as co:
        column = co.add_ndarray_column("x", **arguments)
        assert column.schema.spelling == spelling
        assert co["x"].name == "x"
        co.commit("made")
    assert repo.checkout()["x"].schema.spelling == spelling


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("x", {}),
        ("x", {"shape": (2,)}),
        ("x", {"dtype": "u1"}),
        ("x", {"shape": (2,), "dtype": object}),
        ("x", {"shape": (2,), "dtype": "U5"}),
        ("x", {"shape": (-2,), "dtype": "u1"}),
        ("x", {"shape": (None,), "dtype": "u1"}),
        ("x", {"shape": (2.0,), "dtype": "u1"}),
        ("x", {"shape": (2,), "dtype": "u1", "codec": "zip"}),
        ("x", {"shape": (2,), "dtype": "u1", "nested": 1}),
        ("x", {"prototype": ["a"]}),
        ("", {"shape": (2,), "dtype": "u1"}),
        ("a/b", {"shape": (2,), "dtype": "u1"}),
        (3, {"shape": (2,), "dtype": "u1"}),
        ("labels", {"shape": (2,), "dtype": "u1"}),
    ],
)
def test_a_column_that_cannot_be_leaves_nothing(
    repo: Any, name: Any, arguments: dict[str, Any]
) -> None:
    with repo.edit() as co:
        add_labels(co)["a"] = 1
        co.commit("first")
        with pytest.raises((InvalidColumnError, ColumnExistsError)):
            co.add_ndarray_column(name, **arguments)
        assert list(co) == ["labels"]
        assert not co.is_dirty


def test_columns_are_renamed_and_dropped(repo: Any) -> None:
    with repo.edit() as co:
        labels = add_labels(co)
        labels["a"] = 1
        co.add_str_column("texts")["t"] = "x"
        co.commit("first")
        labels["b"] = 2  # waits in memory while its column gets another name
        co.rename_column("labels", "classes")
        assert dict(co["classes"].items()) == {"a": 1, "b": 2}
        with pytest.raises(ColumnNotFoundError):
            labels["a"]
        co["texts"]["u"] = "y"
        del co["texts"]
        assert list(co) == ["classes"]
        assert co.columns.keys() == {"classes"}
        with pytest.raises(ColumnExistsError):
            co.rename_column("classes", "classes")
        with pytest.raises(ColumnNotFoundError):
            co.rename_column("labels", "x")
        with pytest.raises(InvalidColumnError):
            co.rename_column("classes", "-x")
        with pytest.raises(ColumnNotFoundError, match="there are: classes"):
            del co["texts"]
        co.add_bytes_column("texts")
        assert len(co["texts"]) == 0
        co.commit("second")
    assert contents_of(repo.checkout().columns) == {"classes": {"a": 1, "b": 2}, "texts": {}}


def test_assignment_goes_to_samples(repo: Any) -> None:
    with repo.edit() as co:
        add_labels(co)
        co["labels", "a"] = 1
        assert co["labels", "a"] == 1
        with pytest.raises(InvalidColumnError, match="as a whole"):
            co["labels"] = {"a": 2}
        with pytest.raises(ColumnNotFoundError):
            co["other", "a"] = 1
        assert co["labels"]["a"] == 1


def test_leaving_flushes_and_an_exception_leaves_the_last_flush(repo: Any) -> None:
    if isinstance(repo, MemoryRepository):
        pytest.skip("a private area is not kept")
    with repo.edit() as co:
        add_labels(co)["kept"] = 1
    with pytest.raises(ZeroDivisionError), repo.edit() as co:
        assert co["labels"]["kept"] == 1
        co["labels"]["flushed"] = 2
        co.flush()
        co["labels"]["lost"] = 3
        co.add_str_column("lost")
        raise ZeroDivisionError
    with repo.edit() as co:
        assert contents_of(co.columns) == {"labels": {"kept": 1, "flushed": 2}}
        assert co.base is None
        assert co.is_dirty
        co.commit("all")
        assert not co.is_dirty
    assert not repo.is_dirty


class Refusal:
    """Makes the tensor store or the staging area refuse, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, target: Any, name: str) -> None:
        self.is_armed = False
        real = getattr(type(target), name)

        def refuse(*arguments: Any, **options: Any) -> Any:
            if self.is_armed:
                self.is_armed = False
                raise StorageError("no space left on device")
            return real(*arguments, **options)

        monkeypatch.setattr(type(target), name, refuse)


@pytest.mark.parametrize("place", ["seal", "write", "save", "put"])
def test_a_disk_that_refuses_leaves_the_last_flush(
    repo: Any, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with repo.edit() as co:
        targets = {
            "seal": co._stores.tensors,
            "write": co._stores.tensors,
            "save": co._area,
            "put": co._stores.objects,
        }
        refusal = Refusal(monkeypatch, targets[place], place)
        add_labels(co)["a"] = 1
        co.add_ndarray_column("wide", (100,), "u1")["a"] = np.zeros(100, "u1")
        co.add_str_column("texts")
        co.commit("first")
        co["labels"]["b"] = 2
        co.add_str_column("kept")
        co.flush()
        expected = contents_of(co.columns)
        changes: list[Callable[[], Any]] = [
            lambda: co["labels"].update({"a": 5, "c": 3}),
            lambda: co["wide"].update({"a": np.ones(100, "u1")}),
            lambda: co.__delitem__("labels"),
            lambda: co.rename_column("texts", "words"),
            lambda: co.add_bytes_column("more"),
        ]
        for change in changes:
            change()
            co["wide"]["x"] = np.full(100, 7, "u1")
            refusal.is_armed = True
            with pytest.raises(StorageError):
                co.flush()
            assert not refusal.is_armed
            assert contents_of(co.columns) == expected
            if place == "save" and isinstance(repo, MemoryRepository):
                continue  # a private area keeps nothing of its own when it commits
            change()
            co["wide"]["x"] = np.full(100, 7, "u1")
            refusal.is_armed = True
            with pytest.raises(StorageError):
                co.commit("never")
            assert contents_of(co.columns) == expected
        co["labels"]["d"] = 4
        co.commit("goes on")
    assert repo.checkout()["labels"]["d"] == 4
    assert contents_of(repo.checkout().columns)["wide"] == {"a": [0] * 100}


def test_an_editor_flushes_before_memory_grows(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editor_module, "FLUSH_ROWS", 10)
    with repo.edit() as co:
        labels = add_labels(co)
        for n in range(25):
            labels[n] = n
        assert co._staged.row_count == 5
        monkeypatch.setattr(editor_module, "FLUSH_ROWS", 10**6)
        monkeypatch.setattr(editor_module, "FLUSH_NBYTES", 1000)
        wide = co.add_ndarray_column("wide", (100,), "u1")
        wide.extend(np.arange(3000, dtype=np.uint32).view("u1").reshape(-1, 100))
        assert not co._staged.has_edits


def test_reset_takes_back_everything_or_one_column(repo: Any) -> None:
    with repo.edit() as co:
        add_labels(co)["a"] = 1
        co.add_str_column("texts")["t"] = "x"
        co.commit("first")
        first = contents_of(co.columns)

        def change() -> None:
            co["labels"].update({"a": 2, "b": 3})
            co["texts"]["t"] = "y"
            co.add_bytes_column("blobs")["b"] = b""

        change()
        co.reset("labels")
        assert contents_of(co.columns) == {**first, "texts": {"t": "y"}, "blobs": {"b": b""}}
        co.reset("blobs")
        assert contents_of(co.columns) == {**first, "texts": {"t": "y"}}
        del co["labels"]
        co.reset("labels")
        assert contents_of(co.columns) == {**first, "texts": {"t": "y"}}
        with pytest.raises(ColumnNotFoundError):
            co.reset("nothing")
        co.reset()
        assert contents_of(co.columns) == first
        change()
        co.flush()
        co.reset()
        assert contents_of(co.columns) == first
        assert not co.is_dirty
        with pytest.raises(NothingToCommitError):
            co.commit("nothing")


def test_the_diff_of_an_editor_is_against_its_base(repo: Any) -> None:
    with repo.edit() as co:
        add_labels(co)["a"] = 1
        assert co.is_dirty
        assert list(co.diff().columns["labels"].added) == ["a"]
        commit = co.commit("first")
        assert co.base == commit
        assert co.diff().is_empty
        co["labels"]["a"] = 1
        assert not co.is_dirty
        co["labels"]["a"] = 2
        assert list(co.diff().columns["labels"].modified) == ["a"]
        co["labels"]["a"] = 1
        assert not co.is_dirty


def test_a_commit_says_who_when_and_what(repo: Any) -> None:
    with repo.edit() as co:
        add_labels(co)["a"] = 1
        commit = co.commit("Line\n\nmore", author="Bob <bob@example.org>", metadata={"run": "é 7"})
        assert co.branch == "main"
        co["labels"]["a"] = 2
        second = co.commit("again", author=Identity("Eve", "e"))
        co["labels"]["a"] = 3
        third = co.commit("by the user")
    assert str(commit.author) == "Bob <bob@example.org>"
    assert commit.message == "Line\n\nmore"
    assert commit.summary == "Line"
    assert commit.metadata == {"run": "é 7"}
    assert commit.parents == ()
    assert second.parents == (commit.id,)
    assert (second.author, second.committer) == (Identity("Eve", "e"), ADA)
    assert third.author == ADA
    assert repo.checkout(second.id)["labels"]["a"] == 2
    assert repr(commit) == f"<Commit {commit.id[:12]} 'Line' by Bob>"
    assert "<b>Line</b>" in commit._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"message": ""}, InvalidInputError),
        ({"message": " \n"}, InvalidInputError),
        ({"message": None}, InvalidInputError),
        ({"message": "\ud800"}, InvalidInputError),
        ({"message": "m", "author": "Bob"}, InvalidInputError),
        ({"message": "m", "author": 7}, InvalidInputError),
        ({"message": "m", "metadata": {"a": 1}}, InvalidInputError),
        ({"message": "m", "metadata": {"a": "\ud800"}}, InvalidInputError),
        ({"message": "m", "metadata": ["a"]}, InvalidInputError),
    ],
)
def test_a_refused_commit_loses_nothing(
    repo: Any, arguments: dict[str, Any], error: type[TensorVCSError]
) -> None:
    with repo.edit() as co:
        add_labels(co)["a"] = 1
        co.commit("first")
        co["labels"]["b"] = 2
        co.add_str_column("texts")
        with pytest.raises(error):
            co.commit(**arguments)
        assert contents_of(co.columns) == {"labels": {"a": 1, "b": 2}, "texts": {}}
        assert co.base is not None
        assert co.base.message == "first"
        co.commit("second")
    assert contents_of(repo.checkout().columns) == {"labels": {"a": 1, "b": 2}, "texts": {}}


def test_nothing_to_commit(repo: Any) -> None:
    with repo.edit() as co:
        with pytest.raises(NothingToCommitError) as caught:
            co.commit("empty")
        assert "tvcs status" in (caught.value.hint or "")
        labels = add_labels(co)
        labels["a"] = 1
        co.commit("first")
        labels["a"] = 1
        labels["b"] = 1
        del labels["b"]
        with pytest.raises(NothingToCommitError):
            co.commit("again")
        labels["b"] = 2
        co.commit("second")
    assert repo.checkout()["labels"].keys() == {"a", "b"}


def test_a_commit_needs_somebody() -> None:
    repo = MemoryRepository()
    nobody = type(repo.writer)(lambda: None, repo.now, lambda: None)
    editor = repo.edit()
    editor._area.writer = nobody  # type: ignore[misc]
    add_labels(editor)["a"] = 1
    with pytest.raises(IdentityMissingError) as caught:
        editor.commit("m")
    assert "tvcs config user.name" in (caught.value.hint or "")
    assert editor["labels"]["a"] == 1
    assert editor.commit("m", author="Bob <b>").author.name == "Bob"


def test_editors_show_themselves(repo: Any) -> None:
    with repo.edit() as co:
        assert repr(co) == "<EditableCheckout of 'main' over no commit yet: no columns>"
        add_labels(co, "<b>")["a"] = 1
        co.add_str_column("texts", nested=True)
        assert repr(co["<b>"]) == "<EditableColumn '<b>': int64 ()>"
        assert repr(co["texts"]) == "<EditableNestedColumn 'texts': nested str>"
        assert repr(co.columns) == "<columns: <b>, texts>"
        co["texts"]["<b>"] = {"<b>": "<b>"}
        co["<b>"]["<b>"] = 1
        pages = [co._repr_html_(), co.diff()._repr_html_()]
        co.commit("x")
    shown = repo.checkout()
    pages += [part._repr_html_() for part in (shown, shown["<b>"], shown["texts"])]
    for page in pages:
        assert "&lt;b&gt;" in page
        assert "<b>" not in page
