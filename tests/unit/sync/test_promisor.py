"""The promisor: what it supplies, and what it says of what it does not."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import (
    ConnectionLostError,
    ObjectNotFoundError,
    PromisorAwayError,
    RepositoryNotFoundError,
    StorageError,
)
from tensorvcs.objects.digest import digests_to_array
from tensorvcs.storage.memory import MemoryTensors
from tensorvcs.sync.filters import Filter
from tensorvcs.sync.promisor import Promisor
from tensorvcs.sync.remotes import Remote
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from tensorvcs.storage.interfaces import Stores

REMOTE = Remote("origin", "https://secret@host/data", Filter(columns=("a",)), is_promisor=True)


@pytest.fixture(scope="module")
def source() -> MemoryRepository:
    made = MemoryRepository()

    def change(co: Any) -> None:
        column = co.add_ndarray_column("images", (100,), "uint8")
        column.extend(np.arange(500, dtype=np.uint8).reshape(5, 100))

    made.commit(change)
    return made


def digests_of(source: MemoryRepository) -> list[bytes]:
    return list(source.stores.tensors.values)  # type: ignore[attr-defined]


class Failing:
    """Opens stores, unless an error is to be raised; counts how often."""

    def __init__(self, stores: Stores, *errors: Exception) -> None:
        self.stores = stores
        self.errors = list(errors)
        self.count = 0

    def __call__(self) -> Stores:
        self.count += 1
        if self.errors:
            raise self.errors.pop()
        return self.stores


def test_it_connects_once_and_again_after_an_error(source: MemoryRepository) -> None:
    connect = Failing(source.stores, ConnectionLostError("the line was cut"))
    promisor = Promisor(REMOTE, connect)
    here, names = MemoryTensors(), digests_to_array(digests_of(source))
    with pytest.raises(PromisorAwayError) as caught:
        promisor.supply_values(here, names)
    assert str(caught.value) == (
        "5 values are not in this partial clone, and remote 'origin' at https://host/data does "
        "not answer: the line was cut"
    )
    assert "try again" in str(caught.value.hint)
    promisor.supply_values(here, names[:2])
    promisor.supply_values(here, names[2:])
    here.seal()
    assert here.contains(names).all()
    assert connect.count == 2


@pytest.mark.parametrize(
    "error", [RepositoryNotFoundError("there is no repository"), StorageError("no such device")]
)
def test_whatever_is_in_the_way_is_named(source: MemoryRepository, error: Exception) -> None:
    promisor = Promisor(REMOTE, Failing(source.stores, error))
    text = f"1 tree node is not in this partial clone, and remote 'origin'.*: {error}"
    with pytest.raises(PromisorAwayError, match=text):
        promisor.supply_objects(source.stores.objects, [bytes(32)])


def test_what_the_store_here_raises_is_not_blamed_on_the_remote(source: MemoryRepository) -> None:
    class Full(MemoryTensors):
        def take(self, values: Any) -> None:
            raise StorageError("no space left")

    promisor = Promisor(REMOTE, lambda: source.stores)
    with pytest.raises(StorageError, match=r"^no space left"):
        promisor.supply_values(Full(), digests_to_array(digests_of(source)))


def test_a_remote_that_has_not_got_it_either(source: MemoryRepository) -> None:
    promisor = Promisor(REMOTE, lambda: source.stores)
    text = r"2 values are .* has not got all of it"
    with pytest.raises(ObjectNotFoundError, match=text) as caught:
        promisor.supply_values(MemoryTensors(), np.zeros((2, 32), np.uint8))
    assert not isinstance(caught.value, PromisorAwayError)
    with pytest.raises(ObjectNotFoundError, match="1,500 tree nodes are not"):
        promisor.supply_objects(source.stores.objects, [bytes(32)] * 1500)


def test_one_that_fetches_nothing_says_how_to_get_it(source: MemoryRepository) -> None:
    promisor = pickle.loads(pickle.dumps(Promisor(REMOTE, None)))
    with pytest.raises(ObjectNotFoundError, match="which fetches nothing") as caught:
        promisor.supply_objects(source.stores.objects, [bytes(32)])
    assert str(caught.value.hint) == (
        "bring them with 'tvcs fetch-data', or let them be fetched when they are read: "
        "tvcs config remote.origin.promisor true"
    )
