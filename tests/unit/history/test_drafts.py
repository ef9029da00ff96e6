from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorvcs.errors import ObjectNotFoundError
from tensorvcs.history import drafts
from tensorvcs.history.drafts import DraftObjects, DraftTensors
from tensorvcs.objects.digest import digest_of, digests_to_array
from tensorvcs.objects.schema import Schema
from tensorvcs.storage.memory import MemoryObjects, MemoryTensors
from tests.tensor_values import put

ROWS = Schema("ndarray", "uint8", (100,))


def rows(*values: int) -> Any:
    return np.repeat(np.array(values, np.uint8)[:, None], 100, axis=1)


def digests_of(*values: int) -> Any:
    return digests_to_array([digest_of(bytes([value])) for value in values])


def test_drafts_are_read_like_the_rest_and_saved_at_once() -> None:
    below = MemoryObjects()
    (old,) = below.put([b"old"])
    objects = DraftObjects(below)
    one, again = objects.put([b"new", b"old"])
    assert again == old
    assert below.put_count == 1
    assert objects.get([old, one, old]) == [b"old", b"new", b"old"]
    assert objects.missing([one, old, b"x" * 32]) == [b"x" * 32]
    assert objects.find(old.hex()[:8]) == [old]
    assert objects.find(one.hex()[:8]) == []
    with pytest.raises(ObjectNotFoundError):
        objects.get([b"x" * 32])
    objects.save()
    objects.save()
    assert below.put_count == 2
    assert below.get([one]) == objects.get([one]) == [b"new"]


def test_what_is_drafted_is_not_asked_below() -> None:
    below = MemoryObjects()
    objects = DraftObjects(below)
    digests = objects.put([b"a", b"b"])
    assert objects.get(digests) == [b"a", b"b"]
    assert below.get_count == 0


def test_values_are_kept_in_memory() -> None:
    below = MemoryTensors()
    old = put(below, ROWS, rows(1, 2))
    tensors = DraftTensors(below)
    new = digests_of(3, 4)
    tensors.write(ROWS, new, rows(3, 4))
    tensors.seal()
    assert tensors.unsealed_nbytes == below.unsealed_nbytes == 0
    both = np.concatenate([new[:1], old, new[1:]])
    assert [int(value[0]) for value in tensors.read(ROWS, both)] == [3, 1, 2, 4]
    assert tensors.contains(both).all()
    assert below.contains(both).tolist() == [False, True, True, False]
    tensors.read(ROWS, new)[0][:] = 9
    assert tensors.read(ROWS, new)[0][0] == 3
    texts = digests_of(7)
    tensors.write(Schema("str"), texts, ["text"])
    assert tensors.read(Schema("str"), texts) == ["text"]
    tensors.discard()
    with pytest.raises(ObjectNotFoundError):
        tensors.read(ROWS, new)


def test_what_is_recorded_is_given_out_as_it_is() -> None:
    below = MemoryTensors()
    old = put(below, ROWS, rows(1, 2))
    tensors = DraftTensors(below)
    table = tensors.table(ROWS, [b"leaf"], np.array([2]), lambda _: [old])
    assert table.read(np.array([1]))[0, 0] == 2
    assert tensors.sizes(old).tolist() == below.sizes(old).tolist()
    other = DraftTensors(MemoryTensors())
    for values in tensors.stored(old):
        other.take(values)
    other.seal()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "DRAFT_NBYTES", 250)
    tensors = DraftTensors(MemoryTensors())
    digests = digests_of(1, 2, 3)
    tensors.write(ROWS, digests, rows(1, 2, 3))
    assert tensors.contains(digests).tolist() == [True, True, False]
    with pytest.raises(ObjectNotFoundError):
        tensors.read(ROWS, digests)
