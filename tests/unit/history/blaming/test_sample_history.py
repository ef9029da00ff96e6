from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidKeyError,
    ObjectNotFoundError,
    SampleNotFoundError,
)
from tensorvcs.history.blaming.sample_history import SampleHistory, sample_history
from tensorvcs.history.commit import load_commit
from tensorvcs.storage.memory import MemoryTensors
from tests.memory_repository import MemoryRepository
from tests.unit.history.version_graph import KEYS, VersionGraph, version_graphs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorvcs.history.blaming.sample_history import Change


def history_of(
    repo: MemoryRepository, column: str, key: Any, revision: str = "main"
) -> SampleHistory:
    return sample_history(
        repo.objects, repo.nodes, repo.stores.tensors, repo.load(revision), column, key
    )


def told(changes: Iterable[Change]) -> list[tuple[str, str, Any, Any]]:
    return [(c.sign, c.commit.message, _plain(c.before), _plain(c.after)) for c in changes]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.fixture
def repo() -> MemoryRepository:
    """Commits of column labels: 1 made with a; 2 a changed, b; 3 of others; 4 a deleted."""
    made = MemoryRepository()

    def one(co: Any) -> None:
        co.add_ndarray_column("labels", (), "int64")["a"] = 1
        co.add_ndarray_column("photos", (4, 4), "float64")["p"] = np.zeros((4, 4))
        co.add_ndarray_column("scans", (5,), "float64", nested=True)

    made.commit(one, message="1")
    made.commit(lambda co: co["labels"].update({"a": 2, "b": 2}), message="2")
    made.commit(lambda co: co["photos"].update({"p": np.eye(4)}), message="3")
    made.commit(lambda co: co["labels"].pop("a"), message="4")
    return made


@given(version_graphs(), st.data())
def test_the_changes_are_those_of_a_naive_walk(graph: VersionGraph, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(graph.commits) - 1))
    name, key = data.draw(st.sampled_from("xyz")), data.draw(st.sampled_from(KEYS))
    commit = load_commit(graph.objects, graph.commits[start])
    spelled = key.decode() if isinstance(key, bytes) else key
    expected = graph.changes(start, name, key)
    try:
        found = list(
            sample_history(graph.objects, graph.nodes(), MemoryTensors(), commit, name, spelled)
        )
    except (SampleNotFoundError, ColumnNotFoundError):
        found = []
    numbers = [graph.number(change.commit.digest) for change in found]
    # The clock ticks once a commit, so newest first is by falling number.
    assert numbers == sorted(expected, reverse=True)
    for number, change in zip(numbers, found, strict=True):
        sides = [None if side is None else side[1] for side in expected[number]]
        assert [_plain(change.before), _plain(change.after)] == [
            None if side is None else np.array(side, np.uint8).astype(np.uint8).tolist()
            for side in sides
        ]


def test_the_life_of_a_sample_is_newest_first(repo: MemoryRepository) -> None:
    assert told(history_of(repo, "labels", "a")) == [
        ("-", "4", 2, None),
        ("~", "2", 1, 2),
        ("+", "1", None, 1),
    ]
    assert told(history_of(repo, "labels", "b")) == [("+", "2", None, 2)]
    assert told(history_of(repo, "labels", "a", "main~1"))[0] == ("~", "2", 1, 2)


def test_a_change_tells_its_size(repo: MemoryRepository) -> None:
    deleted, modified, added = history_of(repo, "labels", "a")
    assert modified.size is not None
    assert modified.size.max_absolute == 1
    assert deleted.size is None
    assert added.size is None
    assert repr(modified) == f"<Change ~ in {modified.commit!r}>"


def test_subsamples_alone_and_together(repo: MemoryRepository) -> None:
    one, two = np.ones(5), np.full(5, 2.0)
    repo.commit(lambda co: co["scans"].update({"s": {1: one, 2: one}, "t": {1: one}}), message="5")
    repo.commit(lambda co: co["scans"].update({"s": {1: two}}), message="6")
    repo.commit(lambda co: co["scans"].update({"t": {1: two}}), message="7")
    pair = told(history_of(repo, "scans", ("s", 2)))
    assert pair == [("+", "5", None, [1.0] * 5)]
    assert [row[:2] for row in told(history_of(repo, "scans", ("s", 1)))] == [
        ("~", "6"),
        ("+", "5"),
    ]
    ones, twos = [1.0] * 5, [2.0] * 5
    newest, oldest = history_of(repo, "scans", "s")
    assert told([newest, oldest]) == [
        ("~", "6", {1: ones, 2: ones}, {1: twos, 2: ones}),
        ("+", "5", None, {1: ones, 2: ones}),
    ]
    assert newest.size is None


def test_a_merge_counts_when_it_differs_from_all_parents(repo: MemoryRepository) -> None:
    repo.branch_at("side")
    repo.commit(lambda co: co["labels"].update({"b": 7, "c": 7}), "side", "side")
    repo.commit(lambda co: co["labels"].update({"b": 8}), message="5")
    repo.merge("side", strategy="theirs")
    assert [row[1] for row in told(history_of(repo, "labels", "c"))] == ["side"]
    # Theirs was taken, so what main did with it is left out.
    assert [row[1] for row in told(history_of(repo, "labels", "b"))] == ["side", "2"]


def test_of_two_parents_with_the_value_the_first_is_followed(repo: MemoryRepository) -> None:
    repo.branch_at("side")
    for branch in ("side", "main"):
        repo.commit(lambda co: co["labels"].update({"b": 7}), branch, branch)
    repo.merge("side")
    assert [row[1] for row in told(history_of(repo, "labels", "b"))] == ["main", "2"]


def test_a_column_is_followed_to_its_old_name(repo: MemoryRepository) -> None:
    repo.commit(lambda co: co.rename_column("labels", "classes"), message="5")
    repo.commit(lambda co: co["classes"].update({"b": 3}), message="6")
    assert [row[1] for row in told(history_of(repo, "classes", "b"))] == ["6", "2"]
    # Under the old name it went with its column.
    assert [row[:2] for row in told(history_of(repo, "labels", "b"))] == [("-", "5"), ("+", "2")]


def test_another_dtype_is_a_change_without_a_size(repo: MemoryRepository) -> None:
    def remake(co: Any) -> None:
        del co["labels"]
        co.add_ndarray_column("labels", (), "uint64")["b"] = 2

    repo.commit(remake, message="5")
    newest, *_ = history_of(repo, "labels", "b")
    assert (newest.sign, newest.commit.message, newest.size) == ("~", "5", None)


@pytest.mark.parametrize(
    ("column", "key", "error", "text"),
    [
        ("labels", "z", SampleNotFoundError, "column 'labels' has never had a sample 'z'"),
        ("labels", 5, SampleNotFoundError, "column 'labels' has never had a sample 5"),
        ("scans", ("s", 1), SampleNotFoundError, r"has never had a sample \('s', 1\)"),
        ("masks", "a", ColumnNotFoundError, "no commit up to .* has had a column 'masks'; there"),
        ("labels", ("a", 1), InvalidKeyError, "column 'labels' is not nested"),
        ("labels", ("a",), InvalidKeyError, "a subsample is a pair"),
        ("labels", True, InvalidKeyError, "True is a bool"),
        ("scans", ("a", 1.5), InvalidKeyError, "a key is a str or an int"),
    ],
)
def test_what_never_was_is_an_error(
    repo: MemoryRepository, column: str, key: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        history_of(repo, column, key)


def test_a_deleted_column_has_a_history(repo: MemoryRepository) -> None:
    repo.commit(lambda co: co.__delitem__("labels"), message="5")
    assert [row[:2] for row in told(history_of(repo, "labels", "a"))] == [
        ("-", "4"),
        ("~", "2"),
        ("+", "1"),
    ]
    with pytest.raises(SampleNotFoundError):
        history_of(repo, "labels", "z")
    with pytest.raises(SampleNotFoundError):
        history_of(repo, "labels", ("a", 1))


def test_the_history_of_a_sample_reads_what_is_new_on_its_way() -> None:
    repo = MemoryRepository()
    repo.commit(
        lambda co: co.add_ndarray_column("x", (), "int64").extend(
            np.arange(20_000), keys=range(20_000)
        )
    )
    repo.commit(lambda co: co.add_str_column("others"))
    for at in range(20):
        with repo.edit() as co:
            co["others"][at] = "x"
            co.commit("m")
    repo.commit(lambda co: co["x"].update({5: 0}))
    repo.objects.get_count = 0
    history = sample_history(
        repo.objects, type(repo.nodes)(repo.objects), repo.stores.tensors, repo.load("main"), "x", 5
    )
    next(history)
    first = repo.objects.get_count
    oldest = list(history)[-1].commit
    # Two objects a commit, and no node where the column is equal.
    assert repo.objects.get_count - first == 2 * 21
    assert oldest == repo.load("main~22")


def test_the_iterator_is_lazy_and_shows_itself_without_a_step(repo: MemoryRepository) -> None:
    for at in range(9):
        with repo.edit() as co:
            co["photos"]["p"] = np.full((4, 4), at + 2.0)
            co.commit("m")
    history = history_of(repo, "photos", "p")
    repo.objects.get_count = 0
    assert next(history).commit == repo.load("main")
    assert repo.objects.get_count < 12
    shown = history._repr_html_()
    assert shown.count("<tr>") == 1 + 8 + 1
    assert shown.count("<img") == 8 * 3
    assert repr(history) == (
        f"<SampleHistory of 'p' in column 'photos' up to commit {repo.load('main').short_id}>"
    )
    assert len(list(history)) == 10
    assert list(history) == []


def test_a_change_shows_its_sides(repo: MemoryRepository) -> None:
    one = np.ones(5)
    repo.commit(lambda co: co["scans"].update({"s": dict.fromkeys(range(5), one)}), message="5")
    newest, *_ = history_of(repo, "scans", "s")
    assert newest._repr_html_().count("<br>") >= 3
    modified = list(history_of(repo, "labels", "a"))[1]
    assert "l2 1" in modified._repr_html_()


def test_a_value_that_is_not_here_is_said_so(repo: MemoryRepository) -> None:
    history = history_of(repo, "photos", "p")
    assert isinstance(repo.stores.tensors, MemoryTensors)
    repo.stores.tensors.values.clear()
    assert "not here" in history._repr_html_()
    with pytest.raises(ObjectNotFoundError):
        _ = next(history).after
