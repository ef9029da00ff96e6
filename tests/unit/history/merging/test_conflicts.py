from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import MergeConflictError, ObjectNotFoundError
from tensorvcs.history.merging import conflict_values
from tensorvcs.history.merging.merge import preview_merge
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from pathlib import Path

    from tensorvcs.history.merging.conflicts import ConflictList


def picture(value: int) -> Any:
    return np.full((9, 9), value, np.uint8)


def put(co: Any, value: int, count: int) -> None:
    if "labels" not in co:
        co.add_ndarray_column("labels", (), "int64")
        co.add_ndarray_column("pictures", (9, 9), "uint8")
        co.add_str_column("texts", nested=True)
    co["labels"].update({"a": value, 7: value})
    co["pictures"].update({at: picture(value + at) for at in range(count)})
    co["texts"].update({"k": {"s": f"text {value}"}})


def preview(repo: MemoryRepository, **options: Any) -> ConflictList:
    found = preview_merge(repo.stores, repo.nodes, "main", repo.load("side"), **options)
    return found.decided if options else found.conflicts


def conflicting(count: int = 3) -> MemoryRepository:
    repo = MemoryRepository()
    repo.commit(lambda co: put(co, 1, count))
    repo.branch_at("side")
    repo.commit(lambda co: put(co, 2, count))
    repo.commit(lambda co: put(co, 3, count), "side")
    return repo


def test_a_conflict_has_the_values_of_all_sides() -> None:
    label, _, first, *_, text = preview(conflicting())
    assert (label.column, label.key) == ("labels", 7)
    assert (label.base, label.ours, label.theirs) == (1, 2, 3)
    assert label.ours.dtype == np.int64
    assert (first.column, first.key) == ("pictures", 0)
    assert np.array_equal(first.theirs, picture(3))
    assert first.schema == tv.Schema("ndarray", "uint8", (9, 9))
    assert (text.key, text.base, text.ours) == (("k", "s"), "text 1", "text 2")
    assert repr(label) == "<Conflict labels[7]: modify/modify>"


def test_an_absent_side_has_no_value() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: put(co, 1, 1))
    repo.branch_at("side")
    repo.commit(lambda co: (co["labels"].pop("a"), co["labels"].update({"new": 1})))
    repo.commit(lambda co: co["labels"].update({"a": 2, "new": 2}), "side")
    gone, new = preview(repo)
    assert (gone.base, gone.ours, gone.theirs) == (1, None, 2)
    assert (new.base, new.ours, new.theirs) == (None, 1, 2)
    assert (gone.stored.ours, new.stored.base) == (None, None)


def test_a_column_as_a_whole_has_no_values() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: put(co, 1, 1))
    repo.branch_at("side")
    repo.commit(lambda co: co["labels"].update({"b": 1}))

    def drop(co: Any) -> None:
        del co["labels"]

    repo.commit(drop, "side")
    (conflict,) = preview(repo)
    assert (conflict.base, conflict.ours, conflict.theirs, conflict.schema) == (None,) * 4
    assert str(conflict) == "labels: modify/delete"


def test_conflicts_are_a_sequence() -> None:
    conflicts = preview(conflicting())
    assert len(conflicts) == 6
    assert list(conflicts) == [conflicts[at] for at in range(6)] == conflicts[:]
    assert conflicts[-1].key == ("k", "s")
    assert [c.key for c in conflicts[1:4]] == ["a", 0, 1]
    for place in (6, -7):
        with pytest.raises(IndexError, match="outside 6 conflicts"):
            conflicts[place]
    assert conflicts.column_names() == []
    assert {name: len(keys) for name, keys in conflicts.sample_keys().items()} == {
        "labels": 2, "pictures": 3, "texts": 1
    }  # fmt: skip
    assert repr(conflicts).startswith("<6 conflicts: labels[7]: modify/modify; labels['a']")
    assert repr(conflicts).endswith("; …>")


def test_a_conflict_that_was_decided_is_another_one() -> None:
    repo = conflicting()
    taken = preview(repo, strategy="ours")
    assert {conflict.decided_by for conflict in taken} == {"ours"}
    assert taken[0] != preview(repo)[0]
    assert str(taken[0]) == "labels[7]: modify/modify, decided by ours"


def counted_reads(repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    tensors = repo.stores.tensors
    sizes: list[int] = []
    read = tensors.read

    def counted(schema: tv.Schema, digests: Any) -> Any:
        sizes.append(len(digests))
        return read(schema, digests)

    monkeypatch.setattr(tensors, "read", counted)
    return sizes


def test_neighbours_are_read_together_when_a_value_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repo = conflicting(100)
    sizes = counted_reads(repo, monkeypatch)
    conflicts = preview(repo)
    keys = [conflict.key for conflict in conflicts]
    assert sizes == []
    for conflict in conflicts:
        if conflict.column == "pictures":
            assert conflict.ours[0, 0] == 2 + conflict.key
    assert sizes == [64] * 3 + [36] * 3
    assert len(keys) == 103


def test_large_values_are_read_in_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflict_values, "BLOCK_NBYTES", 10 * 3 * 81)
    repo = conflicting(25)
    sizes = counted_reads(repo, monkeypatch)
    for conflict in preview(repo):
        assert conflict.theirs is not None
    assert sorted(set(sizes)) == [1, 5, 10]


def test_a_value_is_there_though_that_of_a_neighbour_is_not() -> None:
    repo = conflicting(4)
    values: Any = repo.stores.tensors
    values.values = {d: v for d, v in values.values.items() if not np.array_equal(v, picture(6))}
    conflicts = [conflict for conflict in preview(repo) if conflict.column == "pictures"]
    assert np.array_equal(conflicts[0].theirs, picture(3))
    assert np.array_equal(conflicts[2].ours, picture(4))
    with pytest.raises(ObjectNotFoundError):
        assert conflicts[3].theirs


def test_pickled_conflicts_hold_the_first_values_of_a_column() -> None:
    repo = conflicting(40)
    conflicts = preview(repo)
    copies = pickle.loads(pickle.dumps(conflicts))
    assert list(copies) == list(conflicts)
    assert copies[0].theirs == 3
    pictures = copies[2:42]
    for at in range(conflict_values.PICKLED_COUNT):
        assert np.array_equal(pictures[at].ours, picture(2 + at))
    with pytest.raises(ObjectNotFoundError, match="stayed with the repository") as caught:
        assert pictures[20].ours
    assert "preview_merge" in (caught.value.hint or "")
    # Once more, and what was held stays.
    again = pickle.loads(pickle.dumps(copies))
    assert np.array_equal(again[5].base, picture(4))
    assert copies[42].ours == "text 2"


def test_one_pickled_conflict_holds_its_own_value() -> None:
    conflict = preview(conflicting(40))[30]
    data = pickle.dumps(conflict)
    assert len(data) < 3000
    copy = pickle.loads(data)
    assert copy == conflict
    assert np.array_equal(copy.ours, conflict.ours)
    assert np.array_equal(pickle.loads(pickle.dumps(copy)).base, conflict.base)


def test_what_a_pickle_holds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflict_values, "PICKLED_NBYTES", 5 * 3 * 81 + 1)
    pictures = pickle.loads(pickle.dumps(preview(conflicting(10))))[2:12]
    assert np.array_equal(pictures[4].ours, picture(6))
    with pytest.raises(ObjectNotFoundError):
        assert pictures[5].ours


def test_a_pickle_leaves_out_what_is_absent() -> None:
    repo = conflicting(4)
    values: Any = repo.stores.tensors
    values.values = {d: v for d, v in values.values.items() if not np.array_equal(v, picture(3))}
    pictures = pickle.loads(pickle.dumps(preview(repo)))[2:6]
    assert np.array_equal(pictures[2].ours, picture(4))
    assert np.array_equal(pictures[0].ours, picture(2))
    with pytest.raises(ObjectNotFoundError):
        assert pictures[0].theirs


def merge_in_a_worker(path: str) -> None:
    tv.open(path).merge("side")


def test_the_error_of_a_merge_crosses_processes(tmp_path: Path) -> None:
    with tv.init(tmp_path, "Ada", "ada@example.org") as repo:
        with repo.edit() as co:
            put(co, 1, 3)
            co.commit("base")
        repo.create_branch("side")
        for branch, value in [("main", 2), ("side", 3)]:
            with repo.transaction(branch) as co:
                put(co, value, 3)
        with (
            ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
            pytest.raises(MergeConflictError) as caught,
        ):
            pool.submit(merge_in_a_worker, str(tmp_path)).result()
        conflicts = caught.value.conflicts
        assert len(conflicts) == 6
        assert [conflict.key for conflict in conflicts][:3] == [7, "a", 0]
        assert np.array_equal(conflicts[2].theirs, picture(3))
        assert "has 6 conflicts, and changed nothing" in str(caught.value)


def test_conflicts_show_their_pictures_in_a_notebook() -> None:
    repo = conflicting(10)
    html = preview(repo)._repr_html_()
    assert html.count("<img") == 6 * 3  # eight of thirteen conflicts are shown
    assert "13 conflicts" in html
    assert html.count("…") == 1
    assert "modify/modify" in html
    assert "…" not in preview(conflicting(1))._repr_html_()
    one = preview(repo, strategy="theirs")[2]
    assert one._repr_html_().count("<img") == 3
    assert "modify/modify, theirs" in one._repr_html_()


def test_a_conflict_without_its_values_still_shows_itself() -> None:
    repo = conflicting(20)
    copies = pickle.loads(pickle.dumps(preview(repo)))
    assert "not here" in copies[2 + 18]._repr_html_()
