"""The datasets of a pack give out what their column can have, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.errors import (
    CorruptionError,
)
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import dataset_writers, pending_values
from tests.tensor_values import (
    IMAGES,
    TEXTS,
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


def test_a_value_of_another_schema_is_damage(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    digests = put(store, IMAGES, random_images(3))
    texts = put(store, TEXTS, ["a"])
    others = [
        Schema("ndarray", "int8", (16, 16, 3)),
        Schema("ndarray", "uint8", (16, 48)),
        Schema("ndarray", "uint8", (16, 15, None), variable_shape=True),
        TEXTS,
    ]
    for schema in others:
        with pytest.raises(CorruptionError, match="cannot have"):
            store.read(schema, digests[:1])
        with pytest.raises(CorruptionError, match="cannot have"):
            table_of(store, schema, digests)
    with pytest.raises(CorruptionError, match="cannot have"):
        store.read(IMAGES, texts)
    wider = Schema("ndarray", "uint8", (16, 16, None), variable_shape=True)
    assert np.array_equal(store.read(wider, digests), random_images(3))
