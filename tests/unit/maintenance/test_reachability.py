"""A walk meets all that an object names, whatever kind it is of."""

from __future__ import annotations

import numpy as np
import pytest

from tensorvcs.errors import ObjectDamagedError, ObjectNotFoundError
from tensorvcs.maintenance.reachability import Reached, digests_in, named_by
from tensorvcs.objects.commit import TagObject
from tensorvcs.objects.digest import digests_to_array
from tensorvcs.objects.sorted_digests import sort_digests
from tests.memory_repository import ADA, MemoryRepository


def with_two_versions() -> MemoryRepository:
    repo = MemoryRepository()
    with repo.edit() as co:
        images = co.add_ndarray_column("images", (70,), "uint8")
        images.extend(np.random.default_rng(0).integers(0, 256, (500, 70), np.uint8))
        co.add_ndarray_column("labels", (), "int64").extend(np.arange(500))
        co.commit("first")
        co["images"]["more"] = np.full(70, 7, np.uint8)
        co.commit("second")
    return repo


def test_everything_below_a_branch_is_met() -> None:
    repo = with_two_versions()
    starts = [d for value in repo.stores.refs.items("refs/").values() for d in digests_in(value)]
    reached = Reached()
    reached.walk(repo.objects, starts, allow_absent=False)
    columns = repo.checkout("main").columns
    values = columns["images"]._digests_of(None)
    assert len(values) == 501
    assert reached.values.contains(values).all()
    again = Reached()
    again.walk(repo.objects, digests_to_array(starts), allow_absent=True, beyond=reached)
    assert len(again.objects) == 0


def test_what_is_absent_is_told_or_passed_over() -> None:
    repo = with_two_versions()
    unknown = bytes(range(32))
    reached = Reached()
    with pytest.raises(ObjectNotFoundError, match=unknown.hex()):
        reached.walk(repo.objects, [unknown], allow_absent=False)
    reached = Reached()
    reached.walk(repo.objects, [unknown], allow_absent=True)
    assert reached.objects.contains(sort_digests(digests_to_array([unknown]))).all()


def test_what_each_kind_names() -> None:
    repo = with_two_versions()
    ref = repo.stores.refs.items("refs/heads/")["refs/heads/main"]
    (head,) = digests_in(ref)
    commit = repo.objects.get([head])[0]
    objects, values = named_by(commit)
    assert len(objects) == 2  # a snapshot and a parent
    assert len(values) == 0
    tag = TagObject(head, "v1", ADA, repo.now(), "annotated")  # type: ignore[arg-type]
    assert named_by(tag.encode())[0].tobytes() == head
    with pytest.raises(ObjectDamagedError, match="unknown kind"):
        named_by(b"pickle 1\n...")
    with pytest.raises(ObjectDamagedError, match="a merge in progress"):
        named_by(b'merge 1\n{"intent":{}}')


def test_digests_in_records() -> None:
    digest = bytes(range(32))
    assert digests_in(b"commit " + digest.hex().encode()) == [digest]
    assert digests_in(b'{"base": null, "snapshot": "%s"}' % digest.hex().encode()) == [digest]
    assert digests_in(b"ref refs/heads/main") == []
    assert digests_in(b"a" + digest.hex().encode()) == []
