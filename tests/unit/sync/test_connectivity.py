"""Connectivity: what a push must bring, and what is not looked at again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tensorvcs.errors import ObjectDamagedError, ObjectNotFoundError
from tensorvcs.history.ancestry import read_commit
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.objects.digest import CommitDigest
from tensorvcs.sync import connectivity
from tensorvcs.sync.connectivity import check_connected, new_values
from tensorvcs.tree.nodes import Nodes
from tests.memory_repository import MemoryRepository
from tests.unit.sync.repositories import _names_of, fill


@pytest.fixture
def repo() -> MemoryRepository:
    return fill(MemoryRepository())


def check(repo: MemoryRepository, commit: CommitDigest, *known: CommitDigest) -> int:
    return check_connected(Nodes(repo.objects), repo.stores.tensors, [commit], list(known))


def test_a_whole_history_is_connected(repo: MemoryRepository) -> None:
    head, first = repo.resolve("main"), repo.resolve("main~2")
    assert check(repo, head) == 3
    assert check(repo, head, first) == 2
    assert check(repo, head, head) == 0
    assert check(repo, first, head) == 0


def reached(repo: MemoryRepository, commit: CommitDigest) -> set[bytes]:
    """Return every object and value that a commit reaches."""
    found: set[bytes] = set()
    edge: list[bytes] = [commit]
    while edge:
        name = edge.pop()
        if name not in found:
            found.add(name)
            if name in repo.objects.objects:
                edge += _names_of(repo.objects.objects[name])
    values = values_of(repo)
    return {name for name in found if name in repo.objects.objects or name in values}


def values_of(repo: MemoryRepository) -> dict[bytes, Any]:
    values: dict[bytes, Any] = repo.stores.tensors.values  # type: ignore[attr-defined]
    return values


def test_nothing_that_is_new_may_be_missing(repo: MemoryRepository) -> None:
    """Leave each new object and value out in turn: each time that one is named."""
    head, first = repo.resolve("main"), repo.resolve("main~2")
    new = sorted(reached(repo, head) - reached(repo, first))
    objects, values = repo.objects.objects, values_of(repo)
    assert sum(name in values for name in new) >= 2
    assert sum(name in objects for name in new) > 10
    for name in new:
        store: dict[bytes, Any] = objects if name in objects else values
        kept = store.pop(name)
        with pytest.raises(ObjectNotFoundError, match=name.hex()):
            check(repo, head, first)
        store[name] = kept
    check(repo, head, first)


def test_what_a_ref_reaches_already_is_not_read(repo: MemoryRepository) -> None:
    head, before = repo.resolve("main~1"), repo.resolve("main~2")
    repo.objects.get_count = 0
    check(repo, head, before)
    # Two commits and a parent, three snapshots' worth, and the path to one key in each tree.
    assert repo.objects.get_count < 30
    values_of(repo).clear()
    with pytest.raises(ObjectNotFoundError, match=r"column 'images' of commit .* is not whole"):
        check(repo, head, before)


def test_a_renamed_column_is_not_read_again(repo: MemoryRepository) -> None:
    before = repo.resolve("main")
    repo.commit(lambda co: co.rename_column("images", "pictures"))
    values = dict(values_of(repo))
    values_of(repo).clear()
    repo.objects.get_count = 0
    assert check(repo, repo.resolve("main"), before) == 1
    assert repo.objects.get_count < 20
    values_of(repo).update(values)
    assert check(repo, repo.resolve("main")) == 4


def test_a_column_that_became_another_is_read_as_a_whole(repo: MemoryRepository) -> None:
    """An inline column of 32 bytes has values that look like names, and are none."""
    rng = np.random.default_rng(0)

    def inline(co: Any) -> None:
        co.add_ndarray_column("codes", (4,), "int64").extend(rng.integers(0, 9, (50, 4)))

    def names(co: Any) -> None:
        del co["codes"]
        co.add_str_column("codes").update({i: f"text {i}" for i in range(50)})

    repo.commit(inline)
    before = repo.resolve("main")
    repo.commit(names)
    assert check(repo, repo.resolve("main"), before) == 1
    assert check(repo, before, repo.resolve("main~2")) == 1
    lost = next(
        name
        for name, value in values_of(repo).items()
        if isinstance(value, str) and value == "text 7"
    )
    del values_of(repo)[lost]
    with pytest.raises(ObjectNotFoundError, match=lost.hex()):
        check(repo, repo.resolve("main"), before)


def test_merges_are_checked_from_their_first_parent(repo: MemoryRepository) -> None:
    repo.branch_at("side", "main~1")
    repo.commit(lambda co: co["labels"].update({1: 5}), "side")
    known = [repo.resolve("main"), repo.resolve("side")]
    repo.merge("side")
    assert check(repo, repo.resolve("main"), *known) == 1
    assert check(repo, repo.resolve("main"), repo.resolve("main~3")) == 4


@pytest.mark.parametrize("generation", [0, 1, 3, 2**40])
def test_a_generation_that_lies_is_refused(repo: MemoryRepository, generation: int) -> None:
    parent = repo.resolve("main~1")
    commit = read_commit(repo.objects, repo.resolve("main"))
    lie = replace(commit, generation=generation)
    (digest,) = repo.objects.put([lie.encode()])
    with pytest.raises(ObjectDamagedError, match=rf"is {generation}; by its parents it is 2"):
        check(repo, CommitDigest(digest), parent)


def test_an_object_in_the_place_of_another_kind_is_refused(repo: MemoryRepository) -> None:
    head = repo.resolve("main")
    commit = read_commit(repo.objects, head)
    root = read_snapshot(repo.objects, commit.snapshot)["images"].tree.ints
    assert root is not None
    for wrong in (head, root.digest):
        lie: Any = replace(commit, snapshot=wrong)  # type: ignore[arg-type]
        (digest,) = repo.objects.put([lie.encode()])
        with pytest.raises(ObjectDamagedError):
            check(repo, CommitDigest(digest), repo.resolve("main~1"))
    with pytest.raises(ObjectDamagedError):
        check(repo, CommitDigest(commit.snapshot))


def test_values_are_asked_for_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connectivity, "_VALUES_AT_ONCE", 7)
    parts = [np.full((count, 32), count, np.uint8) for count in (3, 4, 0, 5, 1, 9, 2, 0)]
    found = list(connectivity._batches(iter(parts)))
    assert [len(batch) for batch in found] == [7, 15, 2]
    assert np.array_equal(np.concatenate(found), np.concatenate(parts))
    assert list(connectivity._batches(iter([]))) == []


def test_several_values_that_are_missing_are_counted(repo: MemoryRepository) -> None:
    values_of(repo).clear()
    with pytest.raises(ObjectNotFoundError, match=r"value [0-9a-f]{64} and \d+ others"):
        check(repo, repo.resolve("main"))


def test_the_values_that_are_asked_for(repo: MemoryRepository) -> None:
    """Those of the new commits alone, of columns that keep no values in their trees."""
    head, first = repo.resolve("main"), repo.resolve("main~2")
    held: Any = repo.stores.tensors
    nodes = Nodes(repo.objects)
    found = {v.tobytes() for part in new_values(nodes, [head], []) for v in part}
    assert found == set(held.values)
    later = {v.tobytes() for part in new_values(nodes, [head], [first]) for v in part}
    assert len(later) == 3  # a picture, and two scans
    assert list(new_values(nodes, [first], [head])) == []
