"""Every value is hashed, and what is wrong is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.errors import (
    DigestMismatchError,
    ObjectDamagedError,
)
from tensorvcs.storage import dataset_writers, pending_values
from tests.damage import values_of
from tests.tensor_values import (
    IMAGES,
    TEXTS,
    digests_of,
    open_store,
    put,
    random_images,
    table_of,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def everything_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    monkeypatch.setattr(dataset_writers, "SLAB_NBYTES", 64 << 10)


def test_a_damaged_loose_value_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    store = open_store(tmp_path)
    digests = put(store, IMAGES, random_images(3))
    database = store._environment.database("loose")
    name = digests[1].tobytes()
    with store._environment.write() as txn:
        record = txn.get(name, db=database)
        assert record is not None
        txn.put(name, record[:100] + bytes([record[100] ^ 1]) + record[101:], db=database)
    with pytest.raises(ObjectDamagedError, match=name.hex()):
        store.read(IMAGES, digests)
    with pytest.raises(ObjectDamagedError, match=name.hex()):
        table_of(store, IMAGES, digests).read(np.array([1]))
    assert [type(problem) for problem in store.verify()] == [ObjectDamagedError]
    store.repack_loose(force=True)
    assert store.stats().loose_count == 1, "the damaged value stays where verify finds it"


def test_verify_hashes_every_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    for schema in (IMAGES, TEXTS):
        digests = digests_of(schema, values_of(schema)).copy()
        digests[[2, 5]] = digests[[5, 2]]
        store.write(schema, digests, values_of(schema))
        store.seal()
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 1 << 20)
    digests = digests_of(TEXTS, ["one", "two"])
    store.write(TEXTS, digests, ["two", "one"])
    store.seal()
    problems = list(store.verify())
    assert [type(problem) for problem in problems] == [DigestMismatchError] * 6
