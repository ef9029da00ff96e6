"""Remotes are asked one after the other, and none of them is trusted."""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import RemoteError, StorageError
from tensorvcs.objects.schema import Schema
from tensorvcs.storage.memory import memory_stores
from tensorvcs.sync.rescue import Rescue
from tests.tensor_values import digests_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import Stores

TEXTS = Schema("str")
VALUES = [f"text {i}" for i in range(8)]
DIGESTS = digests_of(TEXTS, VALUES)


def having(*places: int) -> Stores:
    stores = memory_stores()
    chosen = list(places)
    stores.tensors.write(TEXTS, DIGESTS[chosen], [VALUES[i] for i in chosen])
    stores.tensors.seal()
    return stores


def away() -> Stores:
    raise RemoteError("nobody answers")


def test_each_remote_gives_what_the_ones_before_have_not(caplog: pytest.LogCaptureFixture) -> None:
    one, other = having(0, 1, 2), having(2, 3)
    asked: list[int] = []

    def connect(stores: Stores) -> Stores:
        asked.append(id(stores))
        return stores

    rescue = Rescue(
        [("one", partial(connect, one)), ("away", away), ("other", partial(connect, other))]
    )
    store = memory_stores().tensors
    assert rescue.take_values(store, DIGESTS[:6]).tolist() == [True] * 4 + [False] * 2
    store.seal()
    assert store.read(TEXTS, DIGESTS[:4]) == VALUES[:4]
    assert "remote 'away' cannot help with damaged values: nobody answers" in caplog.text
    assert rescue.has_values(DIGESTS[:6]).tolist() == [True] * 4 + [False] * 2
    assert asked == [id(one), id(other)], "a remote is connected to once"
    assert rescue.take_values(memory_stores().tensors, DIGESTS[:2]).all()


def test_a_remote_that_lies_gives_what_it_tells_rightly() -> None:
    liar = having(*range(8))
    values: dict[bytes, Any] = liar.tensors.values  # type: ignore[attr-defined]
    for place in (2, 5):
        values[DIGESTS[place].tobytes()] = values[DIGESTS[0].tobytes()]
    store = memory_stores().tensors
    came = Rescue([("liar", lambda: liar)]).take_values(store, DIGESTS)
    assert np.nonzero(~came)[0].tolist() == [2, 5]
    store.seal()
    assert store.contains(DIGESTS).tolist() == came.tolist()
    assert store.read(TEXTS, DIGESTS[came]) == [v for v, c in zip(VALUES, came, strict=True) if c]


def test_what_the_disk_here_refuses_is_no_fault_of_the_remote() -> None:
    class Full:
        def take(self, values: object) -> None:
            raise StorageError("no space left")

    rescue = Rescue([("one", lambda: having(0))])
    with pytest.raises(StorageError):
        rescue.take_values(Full(), DIGESTS[:1])  # type: ignore[arg-type]


def test_objects_come_from_the_first_that_has_them() -> None:
    stores = memory_stores()
    (digest,) = stores.objects.put([b"an object"])
    rescue = Rescue([("away", away), ("empty", memory_stores), ("has it", lambda: stores)])
    assert rescue.find_object(digest) == b"an object"
    assert rescue.find_object(bytes(32)) is None
    stores.objects.objects[digest] = b"another"  # type: ignore[attr-defined]
    found = rescue.find_object(digest)
    assert found in (None, b"another"), "the store that keeps it hashes it"


def test_a_rescue_crosses_to_another_process() -> None:
    rescue = Rescue([("one", partial(having, 0))])
    copied: Rescue = pickle.loads(pickle.dumps(rescue))
    digests: NDArray[np.uint8] = DIGESTS[:1]
    assert copied.take_values(memory_stores().tensors, digests).all()
