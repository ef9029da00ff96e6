"""What the stores of every remote do: in memory, at a path, behind HTTP and pipes, in buckets."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.connections import open_connection
from tensorvcs.errors import (
    DigestMismatchError,
    ObjectDamagedError,
    ObjectNotFoundError,
    ReadOnlyError,
    RefChangedError,
    RemoteError,
)
from tensorvcs.history.refs import BRANCHES, HEAD, TAGS, encode_commit_ref, encode_tag_ref
from tensorvcs.objects.commit import EMPTY_SNAPSHOT, TagObject
from tensorvcs.objects.digest import CommitDigest, digest_of, digests_to_array
from tensorvcs.storage.interfaces import RefChange, Stores
from tensorvcs.storage.memory import MemoryTensors, memory_stores
from tensorvcs.sync.bucket import Bucket
from tensorvcs.sync.remote_stores import RemoteTensors, remote_stores
from tensorvcs.sync.stdio_stores import PipeLine
from tensorvcs.sync.transfer import transfer
from tests.buckets import SERVICES, FolderBucket, Services, memory_bucket, stores_in
from tests.memory_repository import ADA, MemoryRepository
from tests.served import served
from tests.tensor_values import IMAGES, digests_of, every_schema, put, random_images
from tests.unit.sync.bundles import bundle_of
from tests.unit.sync.repositories import fill
from tests.unit.sync.services import DirectLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tensorvcs.objects.schema import Schema

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

KINDS = ("memory", "path", "http", "pipes", "direct", "bucket", "bucket-folder", *SERVICES)
SCHEMAS = every_schema()


@contextmanager
def opened(kind: str, folder: Path, services: Services | None = None) -> Iterator[Stores]:
    """Open the stores of an empty repository of a kind."""
    if kind in SERVICES:
        assert services is not None
        yield stores_in(services.get(kind).open(services.new_name()))
        return
    if kind == "bucket-folder":
        yield stores_in(FolderBucket(folder / "bucket"))
        return
    if kind == "memory":
        yield MemoryRepository(memory_stores()).stores
        return
    if kind == "direct":
        yield remote_stores(DirectLine())
        return
    if kind == "bucket":
        yield stores_in(memory_bucket())
        return
    tv.init(folder / "root" / "pets", user_name="Ada", user_email="ada@example.org").close()
    if kind == "path":
        with _connected(str(folder / "root" / "pets")) as stores:
            yield stores
        return
    if kind == "pipes":
        words = [sys.executable, "-m", "cli", "serve", "--stdio", str(folder / "root" / "pets")]
        line = PipeLine(words, "the program")
        yield remote_stores(line)
        line.close()
        return
    with served(folder / "root") as (url, _), _connected(f"{url}/pets") as stores:
        yield stores


@contextmanager
def _connected(url: str) -> Iterator[Stores]:
    connection = open_connection(url)
    yield connection.stores
    connection.close()


@pytest.fixture(params=KINDS)
def remote(request: pytest.FixtureRequest, tmp_path: Path, services: Services) -> Iterator[Stores]:
    with opened(request.param, tmp_path, services) as stores:
        yield stores


@pytest.fixture(scope="module")
def source() -> MemoryRepository:
    return fill(MemoryRepository())


def test_objects_come_back_under_their_digest(remote: Stores, source: MemoryRepository) -> None:
    content = EMPTY_SNAPSHOT.encode()
    assert remote.objects.put([content]) == [digest_of(content)]
    assert remote.objects.get([digest_of(content)] * 2) == [content] * 2
    assert remote.objects.get([]) == []
    assert remote.objects.put([]) == []
    absent = [bytes([n]) * 32 for n in range(3)]
    asked = [absent[2], digest_of(content), absent[0], absent[2]]
    assert [d for d in remote.objects.missing(asked) if d == absent[0]] == [absent[0]]
    assert set(remote.objects.missing(asked)) == {absent[0], absent[2]}
    with pytest.raises(ObjectNotFoundError, match=absent[1].hex()):
        remote.objects.get([digest_of(content), absent[1]])
    assert remote.objects.get([digest_of(content)]) == [content]
    assert remote.objects.find(digest_of(content).hex()[:8]) == [digest_of(content)]


def test_the_whole_of_a_history_travels_there_and_back(
    remote: Stores, source: MemoryRepository
) -> None:
    head = source.resolve("main")
    sent = transfer(source.stores, remote, [head])
    assert sent.commit_count == 3
    swap(remote, RefChange(BRANCHES + "main", None, encode_commit_ref(head)))
    assert transfer(source.stores, remote, [head]).nbytes == 0
    back = memory_stores()
    transfer(remote, back, [head])
    repo = MemoryRepository(back)
    back.refs.swap([RefChange(BRANCHES + "main", None, encode_commit_ref(head))])
    for revision in ("main", "main~1", "main~2"):
        assert repo.content(revision) == source.content(revision)


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_every_kind_travel_there_and_back(
    kind: str, tmp_path: Path, services: Services
) -> None:
    with opened(kind, tmp_path, services) as remote:
        # On disk and over lines a few of the dtypes stand for all.
        is_quick = kind in ("memory", "direct", "bucket")
        for name, schema, values_of in SCHEMAS if is_quick else [*SCHEMAS[:-3:5], *SCHEMAS[-3:]]:
            there_and_back(remote, name, schema, values_of(1))


def there_and_back(remote: Stores, name: str, schema: Schema, values: Any) -> None:
    near = MemoryTensors()
    digests = put(near, schema, values)
    assert not remote.tensors.contains(digests).any(), name
    for part in near.stored(digests):
        remote.tensors.take(part)
    assert remote.tensors.unsealed_nbytes > 0 or not near.sizes(digests).any()
    remote.tensors.seal()
    assert remote.tensors.unsealed_nbytes == 0
    assert remote.tensors.contains(digests).all()
    again = MemoryTensors()
    for part in remote.tensors.stored(digests):
        again.take(part)
    again.seal()
    assert set(again.values) == set(near.values), name
    assert all(map(same_value, again.read(schema, digests), near.read(schema, digests))), name
    sizes = remote.tensors.sizes(digests)
    assert sizes.dtype == np.int64
    assert len(sizes) == len(digests)


def same_value(left: Any, right: Any) -> bool:
    left, right = np.asarray(left), np.asarray(right)
    return bool(left.dtype == right.dtype and left.tobytes() == right.tobytes())


def test_a_value_that_is_not_what_its_name_says_is_refused(remote: Stores) -> None:
    near = MemoryTensors()
    digests = put(near, IMAGES, random_images(3))
    good, bad, last = near.stored(digests)
    remote.tensors.take(good)
    with pytest.raises(DigestMismatchError, match=bad.digests[0].tobytes().hex()):
        remote.tensors.take(replace(bad, digests=last.digests[:, ::-1].copy()))
        remote.tensors.seal()
    remote.tensors.discard()
    assert not remote.tensors.contains(digests)[1:].any()
    remote.tensors.take(last)
    remote.tensors.seal()
    assert remote.tensors.contains(digests)[2]


def test_absent_values_are_named(remote: Stores) -> None:
    digests = digests_of(IMAGES, random_images(1))
    name = digests[0].tobytes().hex()
    with pytest.raises(ObjectNotFoundError, match=name):
        list(remote.tensors.stored(digests))
    with pytest.raises(ObjectNotFoundError, match=name):
        remote.tensors.sizes(digests)
    assert not remote.tensors.contains(digests).any()
    nothing = np.zeros((0, 32), np.uint8)
    assert remote.tensors.contains(nothing).shape == (0,)
    assert remote.tensors.sizes(nothing).shape == (0,)
    assert list(remote.tensors.stored(nothing)) == []


# Those that are only read: a bundle, and a bucket whose files were copied to another service


@contextmanager
def only_read(kind: str, source: MemoryRepository, folder: Path) -> Iterator[Stores]:
    """Open the stores of a copy of a repository to which nothing can be pushed."""
    if kind == "bundle":
        path = folder / "pets.bundle"
        path.write_bytes(bundle_of(source.stores))
        with _connected(str(path)) as stores:
            yield stores
        return
    first, copy = memory_bucket(), folder / "copied"
    filled = stores_in(first)
    transfer(source.stores, filled, [source.resolve("main")])
    swap(filled, RefChange(BRANCHES + "main", None, encode_commit_ref(source.resolve("main"))))
    for name in ("refs.json", *(f"bundles/{bundle}" for bundle in first.list_files("bundles"))):
        found = first.get(name)
        assert found is not None
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(found[0])
    yield stores_in(Bucket(pytest.importorskip("obstore.store").LocalStore(str(copy)), "file://x"))


@pytest.mark.parametrize("kind", ["bundle", "bucket"])
def test_what_is_only_read(kind: str, source: MemoryRepository, tmp_path: Path) -> None:
    head = source.resolve("main")
    with only_read(kind, source, tmp_path) as remote:
        assert remote.refs.items(BRANCHES) == {BRANCHES + "main": encode_commit_ref(head)}
        assert remote.refs.get(HEAD) == b"ref refs/heads/main"
        absent = bytes(32)
        assert remote.objects.missing([absent, head, absent]) in ([absent], [absent, absent])
        assert remote.objects.get([head, head]) == source.objects.get([head]) * 2
        assert remote.objects.find(head.hex()[:10]) == [head]
        with pytest.raises(ObjectNotFoundError, match=absent.hex()):
            remote.objects.get([head, absent])
        values = digests_to_array([*source.stores.tensors.values, absent])  # type: ignore[attr-defined]
        assert remote.tensors.contains(values).tolist() == [True] * (len(values) - 1) + [False]
        assert (remote.tensors.sizes(values[:-1]) == source.stores.tensors.sizes(values[:-1])).all()
        with pytest.raises(ObjectNotFoundError, match=absent.hex()):
            list(remote.tensors.stored(values))
        back = memory_stores()
        assert transfer(remote, back, [head]).commit_count == 3
        repo = MemoryRepository(back)
        swap(back, RefChange(BRANCHES + "main", None, encode_commit_ref(head)))
        for revision in ("main", "main~1", "main~2"):
            assert repo.content(revision) == source.content(revision)
        with pytest.raises((ReadOnlyError, RemoteError), match="nothing was pushed"):
            swap(remote, RefChange(BRANCHES + "main", encode_commit_ref(head), None))
        with pytest.raises((ReadOnlyError, RemoteError), match="nothing was pushed"):
            remote.objects.put([TagObject(head, "v", ADA, source.now(), "One").encode()])
        assert remote.refs.items(BRANCHES) == {BRANCHES + "main": encode_commit_ref(head)}


def swap(stores: Stores, *changes: RefChange) -> None:
    stores.refs.swap(list(changes))


def commits_there(remote: Stores, count: int) -> list[CommitDigest]:
    """Put a line of commits without columns; return their digests."""
    near = MemoryRepository()
    line: list[CommitDigest] = []
    for number in range(count):
        line.append(near.bare_commit(line[-1:], f"commit {number}"))
    transfer(near.stores, remote, line[-1:])
    return line


def test_refs_move_by_compare_and_swap(remote: Stores) -> None:
    first, second = map(encode_commit_ref, commits_there(remote, 2))
    name = BRANCHES + "one/two"
    assert remote.refs.get(name) is None
    swap(remote, RefChange(name, None, first))
    assert remote.refs.get(name) == first
    for before in (None, second):
        with pytest.raises(RefChangedError, match=r"one/two.* changed"):
            swap(remote, RefChange(name, before, second))
    with pytest.raises(RefChangedError):
        swap(remote, RefChange(BRANCHES + "b", None, first), RefChange(name, second, first))
    assert remote.refs.get(BRANCHES + "b") is None
    swap(remote, RefChange(name, first, second), RefChange(BRANCHES + "b", None, first))
    assert remote.refs.items(BRANCHES) == {BRANCHES + "b": first, name: second}
    swap(remote, RefChange(BRANCHES + "b", first, None))
    assert remote.refs.items(BRANCHES) == {name: second}
    # Nobody switches branches in a bucket: it is on the first that it has got.
    assert remote.refs.get(HEAD) in (b"ref refs/heads/main", b"ref " + name.encode())


def test_tags_are_refs_as_well(remote: Stores) -> None:
    (commit,) = commits_there(remote, 1)
    tag = TagObject(commit, "v1", ADA, MemoryRepository().now(), "One")
    remote.objects.put([tag.encode()])
    plain, annotated = TAGS + "plain", TAGS + "v1"
    swap(remote, RefChange(plain, None, encode_commit_ref(commit)))
    swap(remote, RefChange(annotated, None, encode_tag_ref(tag.digest)))
    assert remote.refs.items(TAGS) == {
        plain: encode_commit_ref(commit),
        annotated: encode_tag_ref(tag.digest),
    }
    assert set(remote.refs.items("refs/")) == {plain, annotated}


def test_one_of_two_who_race_for_a_ref_wins(tmp_path: Path) -> None:
    """Each of them tries until it was first once; every move is seen by exactly one."""
    from concurrent.futures import ThreadPoolExecutor

    with opened("http", tmp_path) as remote:
        line = commits_there(remote, 1)
        value = encode_commit_ref(line[0])

        def race(number: int) -> int:
            try:
                swap(remote, RefChange(BRANCHES + f"b{number // 4}", None, value))
            except RefChangedError:
                return 0
            return 1

        with ThreadPoolExecutor(4) as pool:
            wins = list(pool.map(race, range(24)))
        assert sum(wins) == 6
        assert len(remote.refs.items(BRANCHES)) == 6


REMOTES = ("http", "pipes", "direct")


@pytest.mark.parametrize("kind", REMOTES)
def test_a_remote_takes_no_broken_object_and_goes_on(kind: str, tmp_path: Path) -> None:
    near = fill(MemoryRepository())
    commit = near.objects.objects[near.resolve("main")]
    with opened(kind, tmp_path) as remote:
        for content, problem in (
            (b"what 1\n{}", "unknown kind"),
            (commit.replace(b" 1\n{", b" 1\n {"), "canonical"),
            (b"node 1\n" + bytes(60), "node"),
        ):
            with pytest.raises(ObjectDamagedError, match=problem):
                remote.objects.put([content])
        with pytest.raises(ObjectNotFoundError, match="was not sent before it"):
            remote.objects.put([commit])
        assert remote.objects.missing([digest_of(commit)]) == [digest_of(commit)]
        assert remote.objects.put([EMPTY_SNAPSHOT.encode()]) == [EMPTY_SNAPSHOT.digest]


@pytest.mark.parametrize("kind", REMOTES)
def test_a_remote_moves_no_ref_to_a_history_that_is_not_whole(kind: str, tmp_path: Path) -> None:
    near = fill(MemoryRepository())
    head = near.resolve("main")
    with opened(kind, tmp_path) as remote:
        lost = digests_to_array(list(near.stores.tensors.values)[:1])  # type: ignore[attr-defined]
        leaky: Any = _Without(near.stores.tensors, lost)
        kept = replace(near.stores, tensors=leaky)
        with pytest.raises(ObjectNotFoundError, match="is not whole"):
            transfer(kept, remote, [head])
            swap(remote, RefChange(BRANCHES + "main", None, encode_commit_ref(head)))
        assert remote.refs.items("refs/") == {}
        for part in near.stores.tensors.stored(lost):
            remote.tensors.take(part)
        remote.tensors.seal()
        swap(remote, RefChange(BRANCHES + "main", None, encode_commit_ref(head)))


class _Without:
    """A tensor store that leaves some values out of what it gives."""

    def __init__(self, store: Any, lost: Any) -> None:
        self._store = store
        self._lost = {row.tobytes() for row in lost}

    def stored(self, digests: Any) -> Iterator[Any]:
        kept = [row for row in digests if row.tobytes() not in self._lost]
        yield from self._store.stored(np.array(kept, np.uint8).reshape(-1, 32))


def test_the_stores_of_a_remote_do_not_read_or_write_values(tmp_path: Path) -> None:
    with opened("direct", tmp_path) as remote:
        digests = digests_of(IMAGES, random_images(1))
        for call in (
            partial(remote.tensors.read, IMAGES, digests),
            partial(remote.tensors.write, IMAGES, digests, random_images(1)),
            partial(remote.tensors.table, IMAGES, [], np.zeros(0, np.int64), lambda _: []),
        ):
            with pytest.raises(tv.errors.InvalidInputError, match="in a remote") as caught:
                call()
            assert "clone" in (caught.value.hint or "")
        assert remote.refs.operations() == []
        assert isinstance(remote.tensors, RemoteTensors)
