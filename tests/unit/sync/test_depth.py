"""Depth: the commits that few steps lead to, and transfers that take their trees alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorvcs.errors import ObjectNotFoundError, RemoteError
from tensorvcs.history.ancestry import read_commit
from tensorvcs.history.commit import new_commit
from tensorvcs.objects.digest import CommitDigest
from tensorvcs.storage.memory import MemoryObjects, memory_stores
from tensorvcs.sync import transfer as transfer_module
from tensorvcs.sync.depth import newest_commits
from tensorvcs.sync.transfer import transfer, transfer_trees
from tests.memory_repository import ADA, MemoryRepository
from tests.unit.history.version_graph import VersionGraph, version_graphs
from tests.unit.sync.repositories import breaking, closure_problems, fill, smaller_batches
from tests.unit.sync.test_transfer import arrived

if TYPE_CHECKING:
    from collections.abc import Iterable


@pytest.fixture(scope="module")
def source() -> MemoryRepository:
    return fill(MemoryRepository())


def within(graph: VersionGraph, tips: Iterable[int], depth: int) -> set[int]:
    """Return the commits by the definition, one step after the other."""
    found = edge = set(tips)
    for _ in range(depth - 1):
        edge = {parent for number in edge for parent in graph.parents[number]}
        found = found | edge
    return found


@settings(max_examples=60, deadline=None)
@given(graph=version_graphs(), depth=st.integers(1, 5), data=st.data())
def test_the_commits_that_few_steps_lead_to(
    graph: VersionGraph, depth: int, data: st.DataObject
) -> None:
    count = len(graph.commits)
    tips = data.draw(st.lists(st.integers(0, count - 1), max_size=3))
    here = data.draw(st.sets(st.integers(0, count - 1)))
    near, far = MemoryObjects(), MemoryObjects()
    for number, digest in enumerate(graph.commits):
        (near if number in here else far).put(graph.objects.get([digest]))
    found = newest_commits((near, far), [graph.commits[tip] for tip in tips], depth)
    assert {*found} == {graph.commits[number] for number in within(graph, tips, depth)}
    assert all(found[digest] == read_commit(graph.objects, digest) for digest in found)


def test_a_commit_that_nobody_has() -> None:
    with pytest.raises(ObjectNotFoundError):
        newest_commits((MemoryObjects(), MemoryObjects()), [CommitDigest(bytes(32))], 1)
    assert newest_commits((MemoryObjects(),), [], 3) == {}


def test_trees_of_the_newest_alone_and_the_others_later(source: MemoryRepository) -> None:
    stores, head = memory_stores(), source.resolve("main")
    whole = newest_commits((source.objects,), [head], 1)
    some = transfer(source.stores, stores, [head], whole=whole)
    repo = arrived(stores, head)
    assert repo.content("main") == source.content("main")
    assert some.commit_count == 3
    assert closure_problems(stores)
    every = newest_commits((stores.objects,), [head], 3)
    more = transfer_trees(source.stores, stores, every.items())
    assert not closure_problems(stores)
    for revision in ("main~1", "main~2"):
        assert repo.content(revision) == source.content(revision)
    # Nothing came twice.
    full = transfer(source.stores, memory_stores(), [head])
    together = some + more
    assert (together.object_count, together.nbytes) == (full.object_count, full.nbytes)
    assert transfer_trees(source.stores, stores, every.items()).nbytes == 0


def test_a_thorough_transfer_looks_below_what_is_there(source: MemoryRepository) -> None:
    stores, head = memory_stores(), source.resolve("main")
    transfer(source.stores, stores, [head], whole=())
    commits = newest_commits((stores.objects,), [head], 3)
    # The roots alone are here, as after a read that needed no more.
    state = source.checkout("main")["images"]._reader.state
    stores.objects.put(source.objects.get([state.tree.ints.digest]))
    transfer_trees(source.stores, stores, commits.items())
    assert closure_problems(stores)
    transfer_trees(source.stores, stores, commits.items(), is_thorough=True)
    assert not closure_problems(stores)


def test_a_transfer_of_some_trees_may_be_cut_anywhere(
    source: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller_batches(lambda name, value: monkeypatch.setattr(transfer_module, name, value))
    head = source.resolve("main")
    whole = newest_commits((source.objects,), [head], 2)
    for at in (1, 4, 9, 40, 90):
        stores = memory_stores()
        cut, _ = breaking(stores, at)
        with pytest.raises(RemoteError, match="cut"):
            transfer(source.stores, cut, [head], whole=whole)
        transfer(source.stores, stores, [head], whole=whole)
        repo = arrived(stores, head)
        for revision in ("main", "main~1"):
            assert repo.content(revision) == source.content(revision)


def test_a_snapshot_that_an_older_commit_has_too() -> None:
    repo = fill(MemoryRepository())
    older = read_commit(repo.objects, repo.resolve("main~2"))
    made = new_commit(
        repo.objects,
        older.snapshot,
        [repo.resolve("main")],
        author=ADA,
        now=repo.now(),
        message="Back to the first",
    )
    stores = memory_stores()
    whole = newest_commits((repo.objects,), [made.digest], 1)
    transfer(repo.stores, stores, [made.digest], whole=whole)
    assert arrived(stores, made.digest).content("main") == repo.content("main~2")
