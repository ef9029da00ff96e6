"""The transfer between stores: what it copies, what it skips, and where it may be cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import (
    DigestMismatchError,
    ObjectDamagedError,
    ObjectNotFoundError,
    RemoteError,
)
from tensorvcs.history.commit import new_commit
from tensorvcs.history.refs import BRANCHES, encode_commit_ref
from tensorvcs.history.snapshot import read_snapshot, write_snapshot
from tensorvcs.objects.commit import TagObject
from tensorvcs.objects.schema import Schema
from tensorvcs.storage.interfaces import RefChange, Stores
from tensorvcs.storage.memory import memory_stores
from tensorvcs.sync import transfer as transfer_module
from tensorvcs.sync.filters import Filter
from tensorvcs.sync.transfer import Transferred, transfer
from tests.memory_repository import ADA, MemoryRepository
from tests.unit.sync.repositories import (
    breaking,
    closure_problems,
    fill,
    smaller_batches,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs.objects.digest import CommitDigest


@pytest.fixture(scope="module")
def source() -> MemoryRepository:
    return fill(MemoryRepository())


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    smaller_batches(lambda name, value: monkeypatch.setattr(transfer_module, name, value))


def arrived(stores: Stores, commit: CommitDigest) -> MemoryRepository:
    """Return the repository in which a transferred commit is a branch."""
    repo = MemoryRepository(stores)
    stores.refs.swap([RefChange(BRANCHES + "main", None, encode_commit_ref(commit))])
    return repo


def test_a_commit_arrives_with_all_that_it_needs(source: MemoryRepository) -> None:
    stores, head = memory_stores(), source.resolve("main")
    moved = transfer(source.stores, stores, [head])
    assert not closure_problems(stores)
    repo = arrived(stores, head)
    for revision in ("main", "main~1", "main~2"):
        assert repo.content(revision) == source.content(revision)
    assert moved.commit_count == 3
    assert moved.object_count == len(source.objects.objects)
    assert moved.object_nbytes == sum(map(len, source.objects.objects.values()))
    values: Any = source.stores.tensors
    assert moved.value_count == len(values.values)
    assert moved.nbytes == moved.object_nbytes + moved.value_nbytes


def test_what_is_there_is_not_moved_again(source: MemoryRepository) -> None:
    stores = memory_stores()
    transfer(source.stores, stores, [source.resolve("main")])
    reads = source.objects.get_count
    assert transfer(source.stores, stores, [source.resolve("main")]) == Transferred()
    assert source.objects.get_count == reads


def test_a_small_change_moves_little(source: MemoryRepository) -> None:
    stores = memory_stores()
    transfer(source.stores, stores, [source.resolve("main~2")])
    moved = transfer(source.stores, stores, [source.resolve("main~1")])
    assert moved.commit_count == 1
    assert moved.value_count == 1
    # The path to the changed sample in each of three trees, a snapshot and a commit.
    assert moved.object_count < 12
    assert not closure_problems(stores)


def test_an_annotated_tag_comes_with_its_commit(source: MemoryRepository) -> None:
    stores = memory_stores()
    tag = TagObject(source.resolve("main~1"), "v1", ADA, source.now(), "One")
    source.stores.objects.put([tag.encode()])
    moved = transfer(source.stores, stores, [], tags=[tag.digest])
    assert moved.commit_count == 2
    assert not closure_problems(stores)
    assert not stores.objects.missing([tag.digest])


def test_progress_only_grows(source: MemoryRepository, small_steps: None) -> None:
    seen: list[int] = []
    moved = transfer(
        source.stores,
        memory_stores(),
        [source.resolve("main")],
        progress=lambda so_far: seen.append(so_far.nbytes),
    )
    assert seen == sorted(seen)
    assert seen[-1] == moved.nbytes
    assert len(set(seen)) > 20


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("end", ["source", "destination"])
def test_a_transfer_that_is_cut_anywhere_is_correct_and_goes_on(
    source: MemoryRepository, small_steps: None, end: str, is_done: bool
) -> None:
    head = source.resolve("main")
    for at in cut_points(source, end):
        stores = memory_stores()
        ends = {"source": source.stores, "destination": stores}
        ends[end], left = breaking(ends[end], at, is_done=is_done)
        with pytest.raises(RemoteError, match="cut"):
            transfer(ends["source"], ends["destination"], [head])
        assert left == [0]
        stores.tensors.discard()
        assert not closure_problems(stores), at
        transfer(source.stores, stores, [head])
        assert not closure_problems(stores)
        assert arrived(stores, head).content() == source.content()


def cut_points(source: MemoryRepository, end: str) -> Iterator[int]:
    """Return numbers of calls at which to cut: every seventh, the first and the last."""
    stores = memory_stores()
    ends = {"source": source.stores, "destination": stores}
    ends[end], left = breaking(ends[end], 10**9)
    transfer(ends["source"], ends["destination"], [source.resolve("main")])
    calls = 10**9 - left[0]
    assert calls > 20
    return iter(sorted({*range(1, calls, max(1, calls // 12)), calls}))


def test_what_came_before_the_cut_is_not_moved_again(
    source: MemoryRepository, small_steps: None
) -> None:
    head, stores = source.resolve("main"), memory_stores()
    whole = transfer(source.stores, memory_stores(), [head])
    calls = list(cut_points(source, "destination"))
    cut, _ = breaking(stores, calls[-2])
    with pytest.raises(RemoteError):
        transfer(source.stores, cut, [head])
    stores.tensors.discard()
    rest = transfer(source.stores, stores, [head])
    assert rest.value_count < whole.value_count / 2
    assert rest.object_nbytes < whole.object_nbytes


def test_columns_that_are_not_wanted_stay_behind(source: MemoryRepository) -> None:
    stores, head = memory_stores(), source.resolve("main")
    transfer(source.stores, stores, [head], payload=Filter(columns=("labels", "scans")))
    repo = arrived(stores, head)
    checkout = repo.checkout()
    assert checkout["labels"][9] == 77
    assert len(checkout["images"]) == 3000
    with pytest.raises(ObjectNotFoundError):
        checkout["images"][0]
    assert checkout["scans"]["a"]["b"].shape == (3, 9)


def test_samples_that_are_not_wanted_have_keys_but_no_values(source: MemoryRepository) -> None:
    stores, head = memory_stores(), source.resolve("main")
    moved = transfer(source.stores, stores, [head], payload=Filter(keys=("10:20", "key/1*", "a")))
    # Ten images, eleven texts and two scans.
    assert moved.value_count == 23
    checkout = arrived(stores, head).checkout()
    assert list(checkout["images"].keys())[:3] == [0, 1, 2]
    assert (checkout["images"][12] == source.checkout()["images"][12]).all()
    assert checkout["names"]["key/12"] == "name 12"
    assert checkout["scans"]["a"][1].shape == (2, 9)
    with pytest.raises(ObjectNotFoundError):
        checkout["images"][5]


def test_a_leaf_that_two_columns_share_is_taken_for_either() -> None:
    repo = MemoryRepository()

    def both(co: Any) -> None:
        for name in ("a", "b"):
            co.add_str_column(name).update({"x": "one", "y": "two"})

    repo.commit(both)
    for column in ("a", "b"):
        stores = memory_stores()
        transfer(repo.stores, stores, [repo.resolve("main")], payload=Filter(columns=(column,)))
        checkout = arrived(stores, repo.resolve("main")).checkout()
        assert checkout[column]["y"] == "two"


def test_a_source_that_lies_about_values_is_refused(source: MemoryRepository) -> None:
    class Lying:
        def __getattr__(self, name: str) -> Any:
            return getattr(source.stores.tensors, name)

        def stored(self, digests: Any) -> Any:
            for part in source.stores.tensors.stored(digests):
                object.__setattr__(part, "data", part.data ^ np.uint8(1))
                yield part

    lying: Any = Lying()
    stores = memory_stores()
    liar = Stores(source.stores.objects, lying, source.stores.refs, source.stores.transaction)
    with pytest.raises(DigestMismatchError):
        transfer(liar, stores, [source.resolve("main")])
    stores.tensors.seal()
    values: Any = stores.tensors
    assert not values.values
    assert not closure_problems(stores)


def test_a_node_that_does_not_fit_what_names_it_is_refused(source: MemoryRepository) -> None:
    columns = read_snapshot(source.objects, source.load("main").object.snapshot)
    state = columns["labels"]
    other = type(state)(Schema("ndarray", "int32", ()), type(state.tree)(state.tree.ints, None, 4))
    repo = MemoryRepository(
        Stores(
            source.objects, source.stores.tensors, memory_stores().refs, source.stores.transaction
        )
    )
    snapshot = write_snapshot(repo.objects, {"labels": other})
    commit = new_commit(repo.objects, snapshot, (), author=ADA, now=repo.now(), message="m")
    stores = memory_stores()
    with pytest.raises(ObjectDamagedError, match="does not fit what names it"):
        transfer(repo.stores, stores, [commit.digest])
    assert not closure_problems(stores)


def test_what_neither_end_has_is_an_error(source: MemoryRepository) -> None:
    absent: Any = b"\1" * 32
    with pytest.raises(ObjectNotFoundError):
        transfer(source.stores, memory_stores(), [absent])


def test_values_are_sealed_while_they_come(
    source: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut in the middle of many values loses no more than one seal of them."""
    monkeypatch.setattr(transfer_module, "_SEAL_NBYTES", 20_000)
    stores = memory_stores()

    class Ending:
        def stored(self, digests: Any) -> Iterator[Any]:
            yield from islice(source.stores.tensors.stored(digests), 2000)
            raise RemoteError("the line was cut")

    ending: Any = Ending()
    with pytest.raises(RemoteError, match="cut"):
        transfer(replace(source.stores, tensors=ending), stores, [source.resolve("main")])
    stores.tensors.discard()
    values: Any = stores.tensors
    assert 2000 - 20_000 // 100 - 1 <= len(values.values) <= 2000
