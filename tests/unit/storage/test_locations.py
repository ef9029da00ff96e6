"""Batches fill what they are given, or refuse it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import InvalidInputError, SchemaMismatchError
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import gathering, locations, pending_values
from tests.tensor_values import (
    IMAGES,
    TEXTS,
    digests_of,
    open_store,
    put,
    random_images,
    random_rows,
    same,
    table_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.mark.parametrize("row_nbytes", [768, 12_288])
def test_a_batch_from_several_packs(tmp_path: Path, row_nbytes: int) -> None:
    schema = Schema("ndarray", "uint8", (row_nbytes,))
    store = open_store(tmp_path)
    values = random_rows(schema, 6000 if row_nbytes < 1000 else 600)
    parts = np.array_split(np.arange(len(values)), 3)
    digests = np.concatenate([put(store, schema, values[part]) for part in parts])
    little = random_rows(schema, 5, seed=1)
    everything = np.concatenate([values, little])
    digests = np.concatenate([digests, put(store, schema, little)])
    assert (store.stats().pack_count, store.stats().loose_count) == (3, 5)
    table = table_of(store, schema, digests)
    order = np.random.default_rng(0).permutation(len(everything))
    assert same(table.read(order), everything[order])
    assert same(table.read(order[:50] - len(everything)), everything[order[:50]])


def test_out_must_fit(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    table = table_of(store, IMAGES, put(store, IMAGES, random_images(4)))
    positions = np.arange(2)
    frozen = np.zeros((2, 16, 16, 3), np.uint8)
    frozen.flags.writeable = False
    refused: list[tuple[NDArray[Any], type[Exception]]] = [
        (np.zeros((3, 16, 16, 3), np.uint8), SchemaMismatchError),
        (np.zeros((2, 16, 48), np.uint8), SchemaMismatchError),
        (np.zeros((2, 16, 16, 3), np.int8), SchemaMismatchError),
        (np.zeros((2, 16, 16, 6), np.uint8)[..., ::2], InvalidInputError),
        (np.zeros((2, 16, 16, 3), np.uint8, order="F"), InvalidInputError),
        (frozen, InvalidInputError),
    ]
    for out, kind in refused:
        with pytest.raises(kind):
            table.read(positions, out)
        assert not out.any()


def test_positions_are_integers(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    table = table_of(store, IMAGES, put(store, IMAGES, random_images(4)))
    for positions in (np.array([True, False]), np.array([0.0]), np.zeros((1, 1), int), [0]):
        with pytest.raises(InvalidInputError):
            table.read(positions)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError):
            table.read_list(positions)  # type: ignore[arg-type]


def test_values_of_their_own_shapes_do_not_stack(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    table = table_of(store, TEXTS, put(store, TEXTS, ["a", "b"]))
    with pytest.raises(SchemaMismatchError, match="str"):
        table.read(np.array([0]))


def test_rows_of_every_width_of_dtype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    for module in (locations, gathering):
        monkeypatch.setattr(module, "PARALLEL_NBYTES", 4096)
    store = open_store(tmp_path)
    for name in ("bfloat16", "complex128", "float8_e5m2", "int16", "bool"):
        for count in (3, 13):
            schema = Schema("ndarray", name, (count, 7))
            values = random_rows(schema, 90)
            table = table_of(store, schema, put(store, schema, values))
            order = np.random.default_rng(0).integers(-90, 90, 200)
            assert same(table.read(order), values[order])


def test_digests_of_many_images_are_located_at_once(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    images = random_images(3000)
    put(store, IMAGES, images)
    order = np.random.default_rng(0).integers(0, 3000, 5000)
    digests = digests_of(IMAGES, images)[order]
    assert same(table_of(store, IMAGES, digests).read(np.arange(5000)), images[order])
