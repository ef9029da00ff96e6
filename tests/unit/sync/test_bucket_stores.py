"""A repository in a bucket: pushes, fetches, races, cuts, damage."""

from __future__ import annotations

import json
from dataclasses import replace
from threading import Barrier, Event, Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import (
    CorruptionError,
    DigestMismatchError,
    InvalidInputError,
    NonFastForwardError,
    ObjectDamagedError,
    ObjectNotFoundError,
    RefChangedError,
    RemoteError,
    RepositoryNotFoundError,
    TensorVCSError,
    UnsupportedFormatError,
)
from tensorvcs.history.refs import BRANCHES, HEAD
from tensorvcs.objects.digest import digest_of, digests_to_array
from tensorvcs.storage.file_cache import MemoryCache
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.storage.memory import MemoryTensors, memory_stores
from tensorvcs.sync import bucket_contents, bucket_stores
from tensorvcs.sync import transfer as transfer_module
from tensorvcs.sync.bucket import Bucket
from tensorvcs.sync.bucket_stores import REFS_FILE
from tensorvcs.sync.fetch import fetch
from tensorvcs.sync.filters import Filter
from tensorvcs.sync.push import PushResult, push_branch
from tensorvcs.sync.transfer import transfer
from tests.buckets import CountedBucket, contents_of, memory_bucket, stores_in
from tests.memory_repository import ADA, MemoryRepository
from tests.tensor_values import IMAGES, put, random_images
from tests.unit.sync.repositories import closure_problems, fill, smaller_batches

if TYPE_CHECKING:
    from tensorvcs.storage.interfaces import Stores


@pytest.fixture(scope="module")
def source() -> MemoryRepository:
    return fill(MemoryRepository())


@pytest.fixture
def bucket() -> CountedBucket:
    return memory_bucket()


def push(
    repo: MemoryRepository, target: Stores, branch: str = "main", **options: Any
) -> PushResult:
    return push_branch(
        repo.stores, target, "origin", branch, user=str(ADA), now=repo.now(), **options
    )


def fetched(
    source: Stores, repo: MemoryRepository | None = None, **options: Any
) -> MemoryRepository:
    taken = MemoryRepository() if repo is None else repo
    fetch(source, taken.stores, "origin", user=str(ADA), now=taken.now(), **options)
    return taken


def label(repo: MemoryRepository, key: str, value: int, branch: str = "main") -> None:
    def change(co: Any) -> None:
        if "labels" not in co:
            co.add_ndarray_column("labels", (), "int64")
        co["labels"][key] = value

    repo.commit(change, branch)


def test_what_is_pushed_can_be_fetched(source: MemoryRepository, bucket: CountedBucket) -> None:
    result = push(source, stores_in(bucket))
    assert result.movement == "new"
    assert result.moved.commit_count == 3
    # All of it is one file.
    assert len(bucket.list_files("bundles")) == 1
    stores = stores_in(bucket)
    assert stores.refs.get(HEAD) == b"ref refs/heads/main"
    repo = fetched(stores)
    assert not closure_problems(repo.stores)
    for revision in ("main", "main~1", "main~2"):
        assert repo.content(f"origin/{revision}") == source.content(revision)
    assert push(source, stores_in(bucket)).movement == "up to date"
    assert [number for number, _ in stores.refs.operations()] == [1]


def test_a_small_push_sends_little_and_is_fetched_so(bucket: CountedBucket) -> None:
    repo = fill(MemoryRepository())
    push(repo, stores_in(bucket))
    cache = MemoryCache()
    other = fetched(stores_in(bucket, cache))
    repo.commit(lambda co: co["labels"].update({8: 99}))
    sent = dict(bucket.list_files("bundles"))
    push(repo, stores_in(bucket, cache))
    fresh = bucket.list_files("bundles").keys() - sent.keys()
    assert len(fresh) == 1
    bucket.read_paths.clear()
    bucket.read_nbytes = 0
    fetched(stores_in(bucket, cache), other)
    assert other.resolve("origin/main") == repo.resolve("main")
    # The directories of the first file came from the cache, or none of it was needed.
    assert set(bucket.read_paths) == {f"bundles/{name}" for name in fresh}
    assert bucket.read_nbytes < 2 * bucket.list_files("bundles")[next(iter(fresh))]


def test_a_push_of_many_files(
    source: MemoryRepository, bucket: CountedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller_batches(lambda name, value: monkeypatch.setattr(transfer_module, name, value))
    monkeypatch.setattr(bucket_contents, "FILE_NBYTES", 20_000)
    push(source, stores_in(bucket))
    assert len(bucket.list_files("bundles")) > 5
    repo = fetched(stores_in(bucket))
    assert not closure_problems(repo.stores)
    assert repo.content("origin/main") == source.content("main")


# Races


def test_of_two_pushes_at_a_time_one_wins(bucket: CountedBucket) -> None:
    ada, bob = MemoryRepository(), MemoryRepository()
    label(ada, "a", 1)
    push(ada, stores_in(bucket))
    fetched(stores_in(bucket), bob)
    bob.put_branch("main", ada.resolve("main"))
    label(ada, "b", 2)
    label(bob, "c", 3)
    target = stores_in(bucket)
    before = target.refs.get(BRANCHES + "main")
    push(ada, stores_in(bucket))
    change = RefChange(BRANCHES + "main", before, b"commit " + bob.resolve("main").hex().encode())
    transfer(bob.stores, target, [bob.resolve("main")])
    with pytest.raises(RefChangedError):
        target.refs.swap([change])
    with pytest.raises(NonFastForwardError):
        push(bob, stores_in(bucket))
    fetched(stores_in(bucket), bob)
    bob.merge("origin/main")
    push(bob, stores_in(bucket))
    content = fetched(stores_in(bucket)).content("origin/main")
    assert content == {"labels": {"a": 1, "b": 2, "c": 3}}


class Beaten(CountedBucket):
    """A bucket in which somebody else changes the refs before each of our changes."""

    def __init__(self, store: Any, times: int) -> None:
        super().__init__(store, "memory://pets")
        self.times = times

    def replace(self, path: str, content: bytes, version: Any) -> Any:
        if path == REFS_FILE and self.times:
            self.times -= 1
            other = stores_in(Bucket(self.store, "memory://pets"))
            name = f"{BRANCHES}other{self.times}"
            other.refs.swap([RefChange(name, None, b"commit " + b"00" * 32)])
        return super().replace(path, content, version)


def test_changes_of_other_refs_do_not_matter(bucket: CountedBucket) -> None:
    repo = MemoryRepository()
    label(repo, "a", 1)
    push(repo, stores_in(bucket))
    label(repo, "b", 2)
    push(repo, stores_in(Beaten(bucket.store, 3)))
    refs = stores_in(bucket).refs.items(BRANCHES)
    assert len(refs) == 4
    assert refs[BRANCHES + "main"].endswith(repo.resolve("main").hex().encode())
    label(repo, "c", 3)
    with pytest.raises(RefChangedError, match="change all the time"):
        push(repo, stores_in(Beaten(bucket.store, 1000)))


def test_two_first_pushes(bucket: CountedBucket) -> None:
    contents, others = contents_of(bucket), contents_of(bucket)
    for one in (contents, others):
        one.guard()
    real = bucket.get

    def get(path: str, max_nbytes: int = 0) -> Any:
        found = real(path)
        bucket.get = real  # type: ignore[method-assign]
        bucket_stores.bucket_stores(others).refs.swap([RefChange(BRANCHES + "b", None, b"2")])
        return found

    bucket.get = get  # type: ignore[method-assign]
    bucket_stores.bucket_stores(contents).refs.swap([RefChange(BRANCHES + "a", None, b"1")])
    assert stores_in(bucket).refs.items(BRANCHES) == {BRANCHES + "a": b"1", BRANCHES + "b": b"2"}


def test_a_connection_sees_what_others_push_later(bucket: CountedBucket) -> None:
    repo = MemoryRepository()
    label(repo, "a", 1)
    push(repo, stores_in(bucket))
    stores = stores_in(bucket)
    first = stores.objects.get([repo.resolve("main")])
    label(repo, "b", 2)
    push(repo, stores_in(bucket))
    assert stores.objects.get([repo.resolve("main")]) != first
    with pytest.raises(ObjectNotFoundError):
        stores.objects.get([bytes(32)])
    with pytest.raises(ObjectNotFoundError):
        list(stores.tensors.stored(np.zeros((1, 32), np.uint8)))


# Cuts


@pytest.mark.parametrize("at", range(6))
def test_a_push_that_is_cut_goes_on(
    source: MemoryRepository, bucket: CountedBucket, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    smaller_batches(lambda name, value: monkeypatch.setattr(transfer_module, name, value))
    monkeypatch.setattr(bucket_contents, "FILE_NBYTES", 40_000)
    real, left = bucket.put, [at]

    def put_some(path: str, content: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise RemoteError("the line was cut")
        real(path, content)

    bucket.put = put_some  # type: ignore[method-assign]
    with pytest.raises(RemoteError, match="cut"):
        push(source, stores_in(bucket))
    sent = bucket.list_files("bundles")
    assert len(sent) == at
    with pytest.raises(RepositoryNotFoundError):
        stores_in(bucket).refs.items()
    # What lies there never names what does not.
    taken = memory_stores()
    for bundle in contents_of(bucket).files():
        names = bundle.objects.digests
        taken.objects.put(bundle.read_objects(np.arange(len(names))))
        for part in bundle.stored_values(np.arange(len(bundle.values.digests))):
            taken.tensors.take(part)
    taken.tensors.seal()
    assert not closure_problems(taken)
    bucket.put = real  # type: ignore[method-assign]
    bucket.put_paths.clear()
    push(source, stores_in(bucket))
    assert not {f"bundles/{name}" for name in sent} & set(bucket.put_paths)
    assert fetched(stores_in(bucket)).content("origin/main") == source.content("main")


class Lossy(CountedBucket):
    """A bucket that moves the refs, and whose answer to that is lost."""

    def __init__(self, store: Any, answer: Exception | None) -> None:
        super().__init__(store, "memory://pets")
        self.answer = answer

    def _put_if(self, path: str, content: bytes, mode: Any) -> Any:
        written = super()._put_if(path, content, mode)
        if path != REFS_FILE:
            return written
        if self.answer is not None:
            raise self.answer
        # The client asked again, and what it had written itself was in the way.
        return None


@pytest.mark.parametrize("is_first", [True, False])
def test_a_push_whose_answer_was_lost(bucket: CountedBucket, is_first: bool) -> None:
    repo = MemoryRepository()
    label(repo, "a", 1)
    if not is_first:
        push(repo, stores_in(bucket))
        label(repo, "b", 2)
    with pytest.raises(RemoteError, match="cut"):
        push(repo, stores_in(Lossy(bucket.store, RemoteError("the line was cut"))))
    assert push(repo, stores_in(bucket)).movement == "up to date"
    label(repo, "c", 3)
    assert push(repo, stores_in(Lossy(bucket.store, None))).movement == "fast-forward"
    assert push(repo, stores_in(bucket)).movement == "up to date"
    assert fetched(stores_in(bucket)).content("origin/main") == repo.content("main")


def test_what_could_not_be_sent_is_not_there(bucket: CountedBucket) -> None:
    def fail(path: str, content: bytes) -> None:
        raise RemoteError("no")

    stores = stores_in(bucket)
    bucket.put = fail  # type: ignore[method-assign]
    stores.objects.put([b"x"])
    change = [RefChange(BRANCHES + "main", None, b"x")]
    for _ in range(3):
        with pytest.raises(RemoteError, match="no"):
            stores.refs.swap(change)
    assert bucket.get(REFS_FILE) is None


def test_one_file_is_sent_while_the_next_is_filled(
    bucket: CountedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_contents, "FILE_NBYTES", 1)
    real, may_go_on = bucket.put, Event()

    def put_later(path: str, content: bytes) -> None:
        assert may_go_on.wait(10)
        real(path, content)

    bucket.put = put_later  # type: ignore[method-assign]
    contents = contents_of(bucket)
    stores = bucket_stores.bucket_stores(contents)
    names = stores.objects.put([b"one"])
    # It is on its way, and can be read.
    assert stores.objects.get(names) == [b"one"]
    assert stores.objects.missing([*names, bytes(32)]) == [bytes(32)]
    runner = Thread(target=stores.objects.put, args=([b"two"],))
    runner.start()
    may_go_on.set()
    runner.join()
    contents.finish()
    assert len(bucket.list_files("bundles")) == 2
    contents.close()


# A service that ignores conditions


class Careless(CountedBucket):
    def _put_if(self, path: str, content: bytes, mode: Any) -> Any:
        return super()._put_if(path, content, "overwrite")


def test_nothing_is_pushed_where_conditions_are_ignored(
    source: MemoryRepository, bucket: CountedBucket
) -> None:
    push(source, stores_in(bucket))
    careless = Careless(bucket.store, "memory://careless")
    # Reading works.
    assert fetched(stores_in(careless)).content("origin/main") == source.content("main")
    repo = MemoryRepository()
    label(repo, "a", 1)
    with pytest.raises(RemoteError, match="whether or not conditions hold"):
        push(repo, stores_in(careless), to="other")
    assert not careless.put_paths
    with pytest.raises(RemoteError, match="whether or not conditions hold"):
        stores_in(careless).refs.swap([RefChange(BRANCHES + "main", None, None)])


# Parts


def test_a_part_is_read_alone(bucket: CountedBucket) -> None:
    repo = MemoryRepository()

    def change(co: Any) -> None:
        co.add_ndarray_column("images", (32, 32, 3), "uint8").extend(
            np.random.default_rng(0).integers(0, 256, (2000, 32, 32, 3), np.uint8)
        )

    repo.commit(change)
    push(repo, stores_in(bucket))
    part = Filter(keys=("100:300", "1200:1400"))
    taken = fetched(stores_in(bucket), payload=part)
    images: Any = taken.checkout("origin/main").columns["images"]
    assert (images[1300] == repo.checkout()["images"][1300]).all()
    asked = 400 * 3072
    directories = 2000 * 56
    assert bucket.read_nbytes < 1.02 * asked + 2 * directories + 200_000


# What the stores do beside


def test_values_that_are_taken_are_there(bucket: CountedBucket) -> None:
    store, images = MemoryTensors(), random_images(5)
    digests = put(store, IMAGES, images)
    tensors = stores_in(bucket).tensors
    for part in store.stored(digests):
        tensors.take(part)
        tensors.take(part)
    assert tensors.contains(digests).all()
    assert tensors.sizes(digests).tolist() == [768] * 5
    assert sum(len(part) for part in tensors.stored(digests)) == 5
    for settle in (tensors.seal, tensors.discard):
        tensors.take(next(store.stored(digests)))
        assert tensors.unsealed_nbytes >= 768
        settle()
        assert tensors.unsealed_nbytes == 0
    (part, *_) = store.stored(digests)
    lie = next(iter(MemoryTensorsWith(part).stored(digests)))
    with pytest.raises(DigestMismatchError):
        tensors.take(lie)


class MemoryTensorsWith:
    """Gives out a value under the name of another one."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def stored(self, digests: Any) -> Any:
        yield replace(self.part, digests=digests[-1:].copy())


def test_objects_that_wait_and_that_were_sent(bucket: CountedBucket) -> None:
    first = stores_in(bucket)
    first.objects.put([b"sent"])
    first.refs.swap([RefChange(BRANCHES + "main", None, b"x")])
    stores = stores_in(bucket)
    assert stores.objects.put([b"sent", b"new", b"new"]) == [
        digest_of(content) for content in (b"sent", b"new", b"new")
    ]
    names = [digest_of(b"new"), digest_of(b"sent")]
    assert stores.objects.get(names) == [b"new", b"sent"]
    assert stores.objects.missing([bytes(32), *names]) == [bytes(32)]
    for name in names:
        assert stores.objects.find(name.hex()[:12]) == [name]
    assert stores.objects.find("") == sorted(names)
    for read in (
        lambda: stores.tensors.read(IMAGES, digests_to_array(names)),
        lambda: stores.tensors.write(IMAGES, digests_to_array(names), []),
        lambda: stores.tensors.table(IMAGES, [], np.zeros(0, np.int64), lambda leaves: []),
    ):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            read()


def test_a_bucket_is_on_a_branch_that_it_has(bucket: CountedBucket) -> None:
    refs = stores_in(bucket).refs
    refs.swap([RefChange("refs/tags/v1", None, b"1")])
    assert refs.get(HEAD) is None
    for change, head in (
        (RefChange(BRANCHES + "b", None, b"1"), b"b"),
        (RefChange(BRANCHES + "a", None, b"1"), b"b"),
        (RefChange(BRANCHES + "main", None, b"1"), b"b"),
        (RefChange(BRANCHES + "b", b"1", None), b"main"),
        (RefChange(BRANCHES + "main", b"1", None), b"a"),
        (RefChange(BRANCHES + "a", b"1", None), b"a"),
    ):
        refs.swap([change])
        assert refs.get(HEAD) == b"ref refs/heads/" + head
    refs.swap([RefChange("refs/tags/v1", b"1", None)])
    refs.swap([])


def test_the_log_keeps_the_newest(bucket: CountedBucket) -> None:
    refs = stores_in(bucket).refs
    before = None
    for number in range(105):
        value = b"%d" % number
        refs.swap([RefChange(BRANCHES + "main", before, value)], b"operation %d" % number)
        before = value
    log = refs.operations()
    assert (len(log), log[0], log[-1]) == (100, (105, b"operation 104"), (6, b"operation 5"))
    assert refs.operations(2) == log[:2]


def test_where_there_is_no_repository(bucket: CountedBucket) -> None:
    refs = stores_in(bucket).refs
    assert refs.get(BRANCHES + "main") is None
    for ask in (refs.items, lambda: refs.get(HEAD), refs.operations):
        with pytest.raises(RepositoryNotFoundError, match="no repository at memory://pets") as e:
            ask()
        assert "first push" in str(e.value.hint)


# Damage


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"5",
        b"{}",
        b'{"format": "other"}',
        b'{"format": "tensorvcs bucket", "version": 1}',
        b'{"format": "tensorvcs bucket", "version": 1, "refs": [5]}',
        b'{"format": "tensorvcs bucket", "version": 1, "refs": [["a", 5]]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_refs_that_cannot_be(bucket: CountedBucket, content: bytes) -> None:
    bucket.put(REFS_FILE, content)
    with pytest.raises(ObjectDamagedError, match=r"refs\.json cannot be read"):
        stores_in(bucket).refs.items()


def test_refs_of_a_newer_version(bucket: CountedBucket) -> None:
    bucket.put(REFS_FILE, json.dumps({"format": "tensorvcs bucket", "version": 2}).encode())
    with pytest.raises(UnsupportedFormatError, match="format 2; this version reads 1"):
        stores_in(bucket).refs.items()


def pushed_file(bucket: CountedBucket) -> tuple[MemoryRepository, str, bytes]:
    """Push a commit; return the one bundle."""
    repo = MemoryRepository()
    repo.commit(
        lambda co: co.add_ndarray_column("images", (16, 16, 3), "uint8").extend(random_images(9))
    )
    push(repo, stores_in(bucket))
    ((name, nbytes),) = bucket.list_files("bundles").items()
    path = f"bundles/{name}"
    return repo, path, bytes(bucket.read(path, [(0, nbytes)])[0])


@given(st.data())
def test_a_file_that_was_changed(data: st.DataObject) -> None:
    bucket = memory_bucket()
    repo, path, content = pushed_file(bucket)
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.none() | st.integers(0, len(content)))
    bucket.put(path, bytes(changed)[:cut])
    try:
        taken = fetched(stores_in(bucket))
    except (CorruptionError, RemoteError, UnsupportedFormatError, ObjectNotFoundError):
        return
    assert taken.content("origin/main") == repo.content("main")


def test_a_bucket_that_cannot_be_listed_is_not_empty(bucket: CountedBucket) -> None:
    repo, _, _ = pushed_file(bucket)
    stores = stores_in(bucket)
    real = bucket.list_files

    def fail(folder: str) -> dict[str, int]:
        bucket.list_files = real  # type: ignore[method-assign]
        raise RemoteError("no")

    bucket.list_files = fail  # type: ignore[method-assign]
    with pytest.raises(RemoteError, match="no"):
        stores.objects.missing([repo.resolve("main")])
    assert stores.objects.missing([repo.resolve("main")]) == []


def test_files_of_others_in_the_folder(bucket: CountedBucket) -> None:
    repo, _, content = pushed_file(bucket)
    bucket.put("bundles/README.txt", b"x")
    assert fetched(stores_in(bucket)).content("origin/main") == repo.content("main")
    # One bundle under the name of another.
    bucket.put(f"bundles/{'0' * 64}-500.bundle", content)
    with pytest.raises(ObjectDamagedError, match="not that of the bundle that its name says"):
        fetched(stores_in(bucket))
    bucket.put(f"bundles/{'0' * 64}-500.bundle", b"")
    with pytest.raises(TensorVCSError):
        fetched(stores_in(bucket))


def test_a_file_whose_directories_have_no_end(
    bucket: CountedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed_file(bucket)
    bucket.read_paths.clear()
    monkeypatch.setattr(bucket_contents, "_MOST_END_NBYTES", 100)
    with pytest.raises(ObjectDamagedError, match="its directories would have"):
        stores_in(bucket).objects.missing([bytes(32)])
    assert not bucket.read_paths


@pytest.mark.parametrize("head", [b"ref refs/heads/../x", b"ref refs/tags/v1", b"", b"x" * 99])
def test_a_current_branch_that_cannot_be(bucket: CountedBucket, head: bytes) -> None:
    pushed_file(bucket)
    found = bucket.get(REFS_FILE)
    assert found is not None
    fields = json.loads(found[0])
    fields["refs"] = [[n, head.decode() if n == HEAD else v] for n, v in fields["refs"]]
    bucket.put(REFS_FILE, json.dumps(fields).encode())
    with pytest.raises(ObjectDamagedError, match=r"refs\.json cannot be read"):
        stores_in(bucket).refs.get(HEAD)


def test_a_small_file_is_read_in_one_go(bucket: CountedBucket) -> None:
    repo, path, content = pushed_file(bucket)
    bucket.read_paths.clear()
    bucket.read_nbytes = 0
    assert fetched(stores_in(bucket)).content("origin/main") == repo.content("main")
    assert (bucket.read_paths, bucket.read_nbytes) == ([path], len(content))


def test_files_are_asked_at_a_time(bucket: CountedBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects and values of two files, neither of which answers before the other is asked."""
    monkeypatch.setattr(bucket_contents, "_SMALL_NBYTES", 0)
    store, images = MemoryTensors(), random_images(4)
    digests = put(store, IMAGES, images)
    names = []
    for number, part in enumerate(store.stored(digests)):
        sender = contents_of(bucket)
        stores = bucket_stores.bucket_stores(sender)
        stores.tensors.take(part)
        names += stores.objects.put([b"object %d" % number])
        sender.finish()
    stores = stores_in(bucket)
    assert stores.objects.missing(names) == []
    met = Barrier(len(names))
    real = bucket.read

    def read(path: str, ranges: Any) -> Any:
        met.wait(10)
        return real(path, ranges)

    bucket.read = read  # type: ignore[method-assign]
    assert stores.objects.get(names) == [b"object %d" % n for n in range(len(names))]
    assert sum(len(part) for part in stores.tensors.stored(digests)) == 4


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_cache_that_was_damaged_is_made_anew(bucket: CountedBucket, damage: bytes | None) -> None:
    repo, path, _ = pushed_file(bucket)
    cache = MemoryCache()
    fetched(stores_in(bucket, cache))
    ((name, end),) = cache._contents.items()
    assert path == f"bundles/{name}"
    changed = bytearray(end)
    changed[0] ^= 1
    cache.put(name, bytes(changed) if damage is None else damage)
    assert fetched(stores_in(bucket, cache)).content("origin/main") == repo.content("main")
    assert cache._contents[name] == end
