"""What every ObjectStore does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorvcs.errors import DigestMismatchError, ObjectNotFoundError
from tensorvcs.objects.digest import digest_of
from tensorvcs.storage.lmdb_environment import LmdbEnvironment
from tensorvcs.storage.lmdb_objects import LmdbObjects
from tensorvcs.storage.memory import MemoryObjects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tensorvcs.storage.interfaces import ObjectStore


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryObjects()
        return
    environment = LmdbEnvironment(tmp_path / "lmdb")
    yield LmdbObjects(environment)
    environment.close()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=300), max_size=8))
def test_what_is_put_comes_back_under_its_digest(store: ObjectStore, objects: list[bytes]) -> None:
    digests = store.put(objects)
    assert digests == [digest_of(content) for content in objects]
    assert store.get(digests) == objects
    assert store.get(digests[::-1]) == objects[::-1]
    assert store.missing(digests) == []


def test_putting_again_changes_nothing(store: ObjectStore) -> None:
    assert store.put([b"a", b"b", b"a"]) == store.put([b"a", b"b", b"a"])
    assert store.get(store.put([b"a"])) == [b"a"]
    assert store.put([]) == []
    assert store.get([]) == []


def test_what_is_not_there_is_missing_in_order(store: ObjectStore) -> None:
    here = store.put([b"a", b"b"])
    absent = [bytes([n]) * 32 for n in range(3)]
    assert store.missing([absent[2], here[0], absent[0], here[1], absent[1]]) == [
        absent[2],
        absent[0],
        absent[1],
    ]
    with pytest.raises(ObjectNotFoundError, match=absent[1].hex()):
        store.get([here[0], absent[1]])


def test_objects_are_found_by_the_start_of_their_digest(store: ObjectStore) -> None:
    digests = sorted(store.put([b"%d" % n for n in range(300)]))
    for digest in digests[::50]:
        assert store.find(digest.hex()) == [digest]
        assert store.find(digest.hex()[:20], limit=5) == [digest]
    for prefix in ("", "a", "7", "ff", digests[0].hex()[:3]):
        expected = [digest for digest in digests if digest.hex().startswith(prefix)]
        assert store.find(prefix, limit=1000) == expected
        assert store.find(prefix, limit=2) == expected[:2]
    assert store.find("0" * 64) == []


def test_an_object_that_does_not_hash_to_its_name_is_never_given_out(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path / "lmdb")
    store = LmdbObjects(environment)
    (digest,) = store.put([b"content"])
    database = environment.database("objects")
    with environment.write() as txn:
        txn.put(digest, b"cONTENT", db=database)
    with pytest.raises(DigestMismatchError, match=digest.hex()):
        store.get([digest])
    environment.close()


def test_digests_can_be_listed_in_batches(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path / "lmdb")
    store = LmdbObjects(environment)
    assert list(store.iter_digests()) == []
    digests = store.put([b"%d" % n for n in range(9000)])
    assert list(store.iter_digests()) == sorted(digests)
    environment.close()
