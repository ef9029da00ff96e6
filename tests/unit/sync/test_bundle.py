"""Bundles: what is in them, and what a repository that takes one has then."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tensorvcs.errors import (
    InvalidInputError,
    ObjectDamagedError,
    ObjectNotFoundError,
    ReadOnlyError,
    RemoteError,
)
from tensorvcs.history.ancestry import walk
from tensorvcs.history.refs import BRANCHES, HEAD, TAGS, encode_commit_ref, encode_tag_ref
from tensorvcs.objects.commit import TagObject
from tensorvcs.objects.digest import CommitDigest, digest_of, digests_to_array
from tensorvcs.objects.tensor import digest_rows
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.sync.bundle import (
    check_bundle,
    check_receiver,
    describe_bundle,
    part_of_clone,
    plan_bundle,
    write_bundle,
)
from tensorvcs.sync.bundle_format import Head
from tensorvcs.sync.bundle_stores import bundle_stores
from tensorvcs.sync.bundle_writer import BundleWriter
from tensorvcs.sync.filters import Filter
from tensorvcs.sync.transfer import Transferred, transfer
from tensorvcs.tree.node import Node
from tests.memory_repository import ADA, MemoryRepository
from tests.unit.sync.bundles import bundle_of, opened, take_bundle
from tests.unit.sync.repositories import closure_problems, fill

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def source() -> MemoryRepository:
    repo = fill(MemoryRepository())
    tag = TagObject(repo.resolve("main~1"), "v1", ADA, repo.now(), "One")
    repo.stores.objects.put([tag.encode()])
    repo.stores.refs.swap([RefChange(TAGS + "v1", None, encode_tag_ref(tag.digest))])
    repo.stores.refs.swap(
        [RefChange(TAGS + "plain", None, encode_commit_ref(repo.resolve("main~2")))]
    )
    return repo


def label(labels: dict[int, int | None]) -> Callable[[Any], None]:
    """Return a change that labels samples, or deletes those without a label."""

    def change(co: Any) -> None:
        if "labels" not in co:
            co.add_ndarray_column("labels", (), "int64")
            co.add_ndarray_column("images", (40,), "float32")
        for key, value in labels.items():
            if value is None:
                co["labels"].pop(key, None)
                co["images"].pop(key, None)
            else:
                co["labels"][key] = value
                co["images"][key] = np.full(40, value, np.float32)

    return change


def test_a_bundle_has_everything(source: MemoryRepository) -> None:
    content = bundle_of(source.stores)
    bundle = opened(content, is_checked=True)
    seen: list[int] = []
    check_bundle(bundle, lambda moved: seen.append(moved.nbytes))
    assert seen == sorted(seen)
    repo = take_bundle(content)
    assert not closure_problems(repo.stores)
    for revision in ("main", "main~1", "main~2", "v1", "plain"):
        assert repo.content(revision) == source.content(revision)
    assert repo.objects.objects == source.objects.objects
    described = describe_bundle(bundle)
    assert described.branches == {"main": source.resolve("main").hex()}
    assert list(described.tags) == ["plain", "v1"]
    assert described.prerequisites == ()
    assert described.nbytes == len(content)
    assert described.object_count == len(source.objects.objects)
    values: Any = source.stores.tensors
    assert described.value_count == len(values.values)
    assert repr(described) == (f"<Bundle pets.bundle of main, plain, v1: {described.nbytes} bytes>")


def test_a_bundle_is_the_same_each_time(source: MemoryRepository) -> None:
    assert bundle_of(source.stores) == bundle_of(source.stores)


def test_the_bytes_of_a_bundle_stay_what_they_are() -> None:
    """A change of the format is a new version of it, with a reader for this one."""
    repo = MemoryRepository()
    repo.commit(label({1: 1, 2: 2}))

    def change(co: Any) -> None:
        co.add_str_column("names").update({"a": "one", "b": "two"})
        co.add_ndarray_column("scans", (None, 2), "int16", variable_shape=True)["x"] = np.ones(
            (3, 2), np.int16
        )

    repo.commit(change)
    assert digest_of(bundle_of(repo.stores)).hex() == (
        "aa4adf99bcc6a99817d3dc2d6d9e7190148db8b172c153f105f8cfb7c84bbc44"
    )


def test_progress_of_a_bundle_is_what_is_in_it(source: MemoryRepository) -> None:
    seen: list[Transferred] = []
    moved = write_bundle(
        source.stores, plan_bundle(source.stores), lambda content: None, progress=seen.append
    )
    assert seen[-1].nbytes == moved.nbytes > 0


def test_branches_and_tags_by_name(source: MemoryRepository) -> None:
    source.branch_at("side", "main~1")
    try:
        assert list(plan_bundle(source.stores, ["plain"]).head.refs) == [HEAD, TAGS + "plain"]
        plan = plan_bundle(source.stores, ["side"])
        assert plan.head.refs[HEAD] == b"ref refs/heads/side"
        assert bundle_stores(opened(bundle_of(source.stores, ["side"]))).refs.get(HEAD) == (
            b"ref refs/heads/side"
        )
        plan = plan_bundle(source.stores, ["side", "HEAD"])
        assert plan.head.refs[HEAD] == b"ref refs/heads/main"
        for name in ("main~1", "nope", source.resolve("main").hex()):
            with pytest.raises(InvalidInputError, match="neither a branch nor a tag"):
                plan_bundle(source.stores, ["main", name])
    finally:
        source.put_branch("side", None)


def test_an_empty_repository_has_no_bundle() -> None:
    with pytest.raises(InvalidInputError, match="no branch and no tag"):
        plan_bundle(MemoryRepository().stores)


# Only what is new


def test_only_what_the_receiver_lacks(source: MemoryRepository) -> None:
    there = MemoryRepository()
    transfer(source.stores, there.stores, [source.resolve("main~2")])
    content = bundle_of(source.stores, ["main"], since=[source.resolve("main~2")])
    described = describe_bundle(opened(content))
    assert described.prerequisites == (source.resolve("main~2").hex(),)
    assert repr(described).endswith("bytes, needs 1 commits>")
    assert described.prerequisites[0][:12] in described._repr_html_()
    # One changed image; a path in each of four trees, snapshots and commits, and two new values.
    assert described.value_count == 3
    assert described.object_count < 20
    check_bundle(opened(content))
    repo = take_bundle(content, there)
    assert not closure_problems(repo.stores)
    assert repo.content("main") == source.content("main")


def add_rows(rows: Any, co: Any) -> None:
    co.add_ndarray_column("rows", rows.shape[1:], rows.dtype).extend(rows)


def test_what_is_new_is_found_at_the_cost_of_the_change() -> None:
    reads = []
    for count in (3_000, 60_000):
        repo = MemoryRepository()
        rows = np.arange(20 * count, dtype=np.float32).reshape(count, 20)
        repo.commit(partial(add_rows, rows))
        since = [repo.resolve("main")]
        repo.commit(lambda co: co["rows"].update({7: np.ones(20, np.float32)}))
        before = repo.objects.get_count
        content = bundle_of(repo.stores, since=since)
        reads.append(repo.objects.get_count - before)
        assert describe_bundle(opened(content)).value_count == 1
    # A tree of more levels, and nothing else.
    assert reads[1] - reads[0] <= 6


def test_tags_of_old_commits_are_prerequisites(source: MemoryRepository) -> None:
    since = [source.resolve("main~1")]
    content = bundle_of(source.stores, since=since)
    assert set(describe_bundle(opened(content)).prerequisites) == {
        source.resolve("main~1").hex(),
        source.resolve("main~2").hex(),
    }
    check_bundle(opened(content))
    there = MemoryRepository()
    transfer(source.stores, there.stores, since)
    repo = take_bundle(content, there)
    assert repo.resolve("v1") == source.resolve("v1")
    assert not closure_problems(repo.stores)


def test_nothing_new_is_no_bundle(source: MemoryRepository) -> None:
    with pytest.raises(InvalidInputError, match="has all of it already"):
        plan_bundle(source.stores, since=[source.resolve("main")])


def test_missing_prerequisites_are_named(source: MemoryRepository) -> None:
    content = bundle_of(source.stores, ["main"], since=[source.resolve("main~1")])
    head = opened(content).head
    with pytest.raises(RemoteError, match=source.resolve("main~1").hex()[:12]) as caught:
        check_receiver(head, "pets.bundle", MemoryRepository().stores.objects, Filter())
    assert "--since" in str(caught.value.hint)
    with pytest.raises(RemoteError, match="needs commits"):
        part_of_clone(head, "pets.bundle", Filter())
    check_receiver(head, "pets.bundle", source.stores.objects, Filter())
    many = Head({}, tuple(CommitDigest(bytes([n]) * 32) for n in range(8)))
    with pytest.raises(RemoteError, match="and 3 more"):
        part_of_clone(many, "pets.bundle", Filter())


# Of each commit: the number of the one before, what is set, and the number of one merged in.
EDITS = st.dictionaries(st.integers(0, 40), st.none() | st.integers(0, 3), max_size=4)
STEPS = st.lists(
    st.tuples(st.integers(0, 9), EDITS, st.none() | st.integers(0, 9)), min_size=2, max_size=7
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.lists(st.integers(0, 9), min_size=1, max_size=2))
def test_whoever_has_the_prerequisites_has_everything_then(
    steps: list[tuple[int, dict[int, int | None], int | None]], since: list[int]
) -> None:
    """Of any history with merges, values that come back, and values that several samples have."""
    repo = MemoryRepository()
    repo.commit(label({99: 1}), "b0")
    names = ["b0"]
    for number, (before, edits, merged) in enumerate(steps, 1):
        repo.branch_at(f"b{number}", names[before % len(names)])
        # The number of the step is a change in any case.
        repo.commit(label({**edits, 100 + number: 0}), f"b{number}")
        names.append(f"b{number}")
        if merged is not None:
            repo.merge(names[merged % len(names)], f"b{number}", "ours")
    left_out = [repo.resolve(names[place % len(names)]) for place in since]
    walked = walk(repo.objects, [repo.resolve(name) for name in names], without=left_out)
    assume(next(walked, None) is not None)
    content = bundle_of(repo.stores, since=left_out)
    there = MemoryRepository()
    transfer(repo.stores, there.stores, opened(content).head.prerequisites)
    taken = take_bundle(content, there)
    assert not closure_problems(taken.stores)
    for name in names:
        assert taken.content(name) == repo.content(name)


# A part


def test_a_part_by_columns_and_keys(source: MemoryRepository) -> None:
    part = Filter(columns=("images", "labels"), keys=("0:10",))
    content = bundle_of(source.stores, ["main"], part=part)
    bundle = opened(content)
    check_bundle(bundle)
    assert bundle.head.part == part
    assert describe_bundle(bundle).part == part
    assert describe_bundle(bundle).value_count == 11
    repo = take_bundle(content, part=part)
    images: Any = repo.checkout().columns["images"]
    assert (images[3] == source.checkout()["images"][3]).all()
    with pytest.raises(ObjectNotFoundError):
        images[10]
    # A part of the part, and what is not in it.
    assert part_of_clone(bundle.head, "x", Filter()) == part
    assert part_of_clone(bundle.head, "x", Filter(columns=("labels",))).columns == ("labels",)
    objects = repo.stores.objects
    check_receiver(bundle.head, "x", objects, part)
    with pytest.raises(InvalidInputError, match="a part of each version only"):
        check_receiver(bundle.head, "x", objects, Filter())
    assert part_of_clone(bundle.head, "x", Filter(max_bytes=5)).columns == part.columns
    for more in (Filter(max_bytes=5), Filter(columns=("labels", "names"))):
        with pytest.raises(InvalidInputError, match="only these columns: images, labels"):
            check_receiver(bundle.head, "x", objects, more)


@pytest.mark.parametrize("sample", ["first", "random", "stratified:labels"])
def test_a_part_by_budget(source: MemoryRepository, sample: str) -> None:
    part = Filter(columns=("images", "labels"), max_bytes=5000, sample=sample)
    bundle = opened(bundle_of(source.stores, ["main"], part=part))
    assert describe_bundle(bundle).value_count == 50
    stores = bundle_stores(bundle)
    images: Any = source.checkout()["images"]
    digests = digest_rows(images.schema, images[:])
    is_there = stores.tensors.contains(digests)
    assert is_there.sum() == 50
    # What is not there has no size, and is not given.
    assert int(stores.tensors.sizes(digests).sum()) == 5000
    assert sum(len(part) for part in stores.tensors.stored(digests)) == 50
    if sample == "first":
        assert is_there[:50].all()


def test_a_budget_of_a_tag(source: MemoryRepository) -> None:
    part = Filter(columns=("images",), max_bytes=400)
    assert describe_bundle(opened(bundle_of(source.stores, ["plain"], part=part))).value_count == 4


# Stores of a bundle


def test_a_bundle_never_changes(source: MemoryRepository) -> None:
    stores = bundle_stores(opened(bundle_of(source.stores)))
    (values,) = [next(iter(stores.tensors.stored(some_values(source)[:1])))]
    for change in (
        lambda: stores.objects.put([b"x"]),
        lambda: stores.tensors.take(values),
        lambda: stores.tensors.write(None, None, []),  # type: ignore[arg-type]
        lambda: stores.refs.swap([RefChange(BRANCHES + "main", None, b"x")]),
    ):
        with pytest.raises(ReadOnlyError, match="nothing was pushed") as caught:
            change()
        assert "bundle create" in str(caught.value.hint)
    stores.tensors.seal()
    stores.tensors.discard()
    assert stores.tensors.unsealed_nbytes == 0
    assert stores.refs.operations() == []


def test_what_a_bundle_cannot_do(source: MemoryRepository) -> None:
    stores = bundle_stores(opened(bundle_of(source.stores)))
    for read in (
        lambda: stores.tensors.read(None, None),  # type: ignore[arg-type]
        lambda: stores.tensors.table(None, [], None, None),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            read()


def test_objects_are_found_and_missed(source: MemoryRepository) -> None:
    stores = bundle_stores(opened(bundle_of(source.stores)))
    digests = list(source.objects.objects)
    absent = [bytes(32), b"\xff" * 32]
    assert stores.objects.missing([*absent, *digests]) == absent
    assert stores.objects.get(digests[:5]) == [source.objects.objects[d] for d in digests[:5]]
    for digest in (sorted(digests)[0], sorted(digests)[-1], digests[3]):
        assert stores.objects.find(digest.hex()) == [digest]
        assert stores.objects.find(digest.hex()[:10]) == [digest]
    assert stores.objects.find("", 4) == sorted(digests)[:4]
    with pytest.raises(ObjectNotFoundError, match="00000000"):
        stores.objects.get([digests[0], absent[0]])
    with pytest.raises(ObjectNotFoundError, match=r"is not in pets\.bundle"):
        list(stores.tensors.stored(digests_to_array(absent)))
    with pytest.raises(ObjectNotFoundError):
        stores.tensors.sizes(digests_to_array(absent))


def test_a_bundle_of_nothing() -> None:
    content = bytearray()
    BundleWriter(content.extend, Head({})).close()
    bundle = opened(bytes(content), is_checked=True)
    check_bundle(bundle)
    stores = bundle_stores(bundle)
    assert stores.objects.missing([bytes(32)]) == [bytes(32)]
    assert stores.objects.find("") == []
    assert stores.objects.get([]) == []
    assert not stores.tensors.contains(digests_to_array([bytes(32)])).any()
    assert stores.refs.items() == {}
    assert repr(describe_bundle(bundle)).startswith("<Bundle pets.bundle of nothing:")


def test_a_ref_of_a_commit_that_is_not_there() -> None:
    content = bytearray()
    value = encode_commit_ref(CommitDigest(bytes(32)))
    BundleWriter(content.extend, Head({BRANCHES + "main": value})).close()
    with pytest.raises(ObjectDamagedError, match="which is not in it"):
        check_bundle(opened(bytes(content)))


def some_values(repo: MemoryRepository) -> Any:
    store: Any = repo.stores.tensors
    return digests_to_array(list(store.values))


@pytest.mark.parametrize("lost", ["leaf", "inner node", "value", "snapshot", "parent", "tag"])
def test_half_a_bundle(source: MemoryRepository, lost: str) -> None:
    """Every digest in it is right; something that the refs reach was left out."""
    near: Any = source.stores
    objects: dict[bytes, bytes] = dict(near.objects.objects)
    values = digests_to_array(list(near.tensors.values))
    nodes = {d: Node(c) for d, c in objects.items() if c.startswith(b"node ")}
    kinds: dict[str, list[bytes]] = {
        "leaf": [d for d, node in nodes.items() if node.level == 0],
        "inner node": [d for d, node in nodes.items() if node.level],
        "snapshot": [d for d, c in objects.items() if c.startswith(b"snapshot ")],
        "parent": [source.resolve("main~1")],
        "tag": [d for d, c in objects.items() if c.startswith(b"tag ")],
    }
    if lost == "value":
        values = values[1:]
    else:
        del objects[kinds[lost][0]]
    refs = {**source.stores.refs.items(BRANCHES), **source.stores.refs.items(TAGS)}
    content = bytearray()
    writer = BundleWriter(content.extend, Head({HEAD: b"ref refs/heads/main", **refs}))
    for part in source.stores.tensors.stored(values):
        writer.add_values(part)
    writer.add_objects(list(objects.values()))
    writer.close()
    with pytest.raises(ObjectDamagedError, match=r"it is not whole|which is not in it"):
        check_bundle(opened(bytes(content), is_checked=True))
    with pytest.raises(ObjectNotFoundError):
        take_bundle(bytes(content))
