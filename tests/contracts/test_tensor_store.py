"""What every TensorStore does; run on the one in memory and the one on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import DigestMismatchError, ObjectNotFoundError
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import pending_values
from tensorvcs.storage.memory import MemoryTensors
from tests.tensor_values import (
    IMAGES,
    TEXTS,
    digests_of,
    every_schema,
    open_store,
    put,
    random_images,
    same,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tensorvcs.storage.interfaces import TensorStore

SCHEMAS = every_schema()
BY_NAME = pytest.mark.parametrize(
    ("schema", "values_of"), [case[1:] for case in SCHEMAS], ids=[case[0] for case in SCHEMAS]
)


@pytest.fixture(params=["memory", "loose", "packed", "streamed"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TensorStore]:
    if request.param == "memory":
        yield MemoryTensors()
        return
    if request.param != "loose":
        monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    if request.param == "streamed":
        monkeypatch.setattr(pending_values, "BUFFER_NBYTES", 0)
    disk = open_store(tmp_path)
    yield disk
    disk.close()


@BY_NAME
def test_what_was_sealed_can_be_read(
    store: TensorStore, schema: Schema, values_of: Callable[[int], Any]
) -> None:
    values = values_of(1)
    digests = put(store, schema, values)
    assert store.contains(digests).all()
    assert all(map(same, store.read(schema, digests), values))
    assert all(map(same, store.read(schema, digests[:3]), values[:3]))
    table = table_of(store, schema, digests)
    assert len(table) == len(values)
    order = np.random.default_rng(0).permutation(len(values))
    assert all(map(same, table.read_list(order), [values[i] for i in order]))
    if schema.is_fixed_shape:
        assert same(table.read(order), np.asarray(values)[order])


def test_nothing_is_there_before_the_seal(store: TensorStore) -> None:
    images = random_images(5)
    digests = digests_of(IMAGES, images)
    store.write(IMAGES, digests, images)
    assert store.unsealed_nbytes == images.nbytes
    assert not store.contains(digests).any()
    store.seal()
    assert store.unsealed_nbytes == 0
    assert store.contains(digests).all()


def test_discard_forgets_what_was_not_sealed(store: TensorStore) -> None:
    before = put(store, IMAGES, random_images(2, seed=1))
    images = random_images(5)
    digests = digests_of(IMAGES, images)
    store.write(IMAGES, digests, images)
    store.discard()
    store.seal()
    assert store.unsealed_nbytes == 0
    assert not store.contains(digests).any()
    assert store.contains(before).all()


def test_one_value_under_one_digest_however_often_it_comes(store: TensorStore) -> None:
    images = random_images(4)[[0, 1, 0, 2, 3, 3, 0]]
    digests = put(store, IMAGES, images)
    put(store, IMAGES, images[::-1].copy())
    assert same(np.array(store.read(IMAGES, digests)), images)
    assert same(table_of(store, IMAGES, digests).read(np.arange(7)), images)


def test_an_empty_write_and_an_empty_seal_change_nothing(store: TensorStore) -> None:
    store.write(IMAGES, digests_of(IMAGES, random_images(0)), random_images(0))
    store.write(TEXTS, digests_of(TEXTS, []), [])
    store.seal()
    assert store.read(TEXTS, digests_of(TEXTS, [])) == []
    table = table_of(store, IMAGES, digests_of(IMAGES, random_images(0)))
    assert len(table) == 0
    assert table.read(np.zeros(0, np.intp)).shape == (0, 16, 16, 3)


@pytest.mark.parametrize("is_private", [False, True])
def test_a_view_is_the_values_or_none(store: TensorStore, *, is_private: bool) -> None:
    images = random_images(9)
    table = table_of(store, IMAGES, put(store, IMAGES, images))
    view = table.view(2, 7, is_private=is_private)
    if view is not None:
        assert same(view, images[2:7])
        assert view.flags.writeable is is_private
    assert table.view(4, 4) is None
    texts = table_of(store, TEXTS, put(store, TEXTS, ["a", "b"]))
    assert texts.view(0, 2) is None


def test_an_absent_value_is_an_error_that_names_it(store: TensorStore) -> None:
    digests = digests_of(IMAGES, random_images(1))
    with pytest.raises(ObjectNotFoundError, match=digests[0].tobytes().hex()):
        store.read(IMAGES, digests)
    with pytest.raises(ObjectNotFoundError, match=digests[0].tobytes().hex()):
        # At the latest when it is read: the others of the column can be.
        table_of(store, IMAGES, digests).read(np.zeros(1, np.intp))


def test_values_are_copies(store: TensorStore) -> None:
    images = random_images(2)
    digests = put(store, IMAGES, images)
    store.read(IMAGES, digests)[0][:] = 0
    table_of(store, IMAGES, digests).read_list(np.array([0]))[0][:] = 0  # type: ignore[index]
    assert same(store.read(IMAGES, digests)[0], images[0])


def test_the_buffer_of_a_write_belongs_to_the_caller_again(store: TensorStore) -> None:
    images = random_images(3)
    given = images.copy()
    digests = digests_of(IMAGES, images)
    store.write(IMAGES, digests, given)
    given[:] = 0
    store.seal()
    assert same(np.array(store.read(IMAGES, digests)), images)


def test_positions_count_from_the_end_and_have_bounds(store: TensorStore) -> None:
    images = random_images(200)
    table = table_of(store, IMAGES, put(store, IMAGES, images))
    assert same(table.read(np.array([-1, -200, 199])), images[[-1, 0, 199]])
    assert same(table.read(np.array([3, 3], np.uint8)), images[[3, 3]])
    for position in (200, -201):
        with pytest.raises(IndexError):
            table.read(np.array([0, position]))
        with pytest.raises(IndexError):
            table.read_list(np.array([position]))


def test_a_batch_fills_the_buffer_that_is_given(store: TensorStore) -> None:
    images = random_images(10)
    table = table_of(store, IMAGES, put(store, IMAGES, images))
    out = np.zeros((2, 16, 16, 3), np.uint8)
    assert table.read(np.array([4, 5]), out) is out
    assert same(out, images[4:6])


def test_the_leaves_of_one_column_may_share_values(store: TensorStore) -> None:
    images = random_images(100)[np.arange(300) % 100]
    digests = put(store, IMAGES, images)
    assert same(table_of(store, IMAGES, digests).read(np.arange(300)), images)


@pytest.fixture(params=["memory", "loose", "packed", "streamed"])
def other(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TensorStore]:
    """A second store, to move values to."""
    if request.param == "memory":
        yield MemoryTensors()
        return
    monkeypatch.setattr(
        pending_values, "LOOSE_SEAL_NBYTES", 1 << 20 if request.param == "loose" else 0
    )
    monkeypatch.setattr(
        pending_values, "BUFFER_NBYTES", 0 if request.param == "streamed" else 32 << 20
    )
    disk = open_store(tmp_path / "other")
    yield disk
    disk.close()


@BY_NAME
def test_values_move_to_another_store(
    store: TensorStore, other: TensorStore, schema: Schema, values_of: Callable[[int], Any]
) -> None:
    values = values_of(1)
    digests = put(store, schema, values)
    given = 0
    for part in store.stored(np.concatenate([digests, digests])):
        assert len(part) == len(part.digests)
        assert part.sizes.tolist() == store.sizes(part.digests).tolist()
        given += len(part)
        other.take(part)
        other.take(part)
    assert given == len({digest.tobytes() for digest in digests})
    other.seal()
    assert all(map(same, other.read(schema, digests), values))
    # And back, from what has been taken.
    third = MemoryTensors()
    for part in other.stored(digests):
        third.take(part)
    third.seal()
    assert all(map(same, third.read(schema, digests), values))


@BY_NAME
def test_a_value_that_arrives_changed_is_refused(
    store: TensorStore, other: TensorStore, schema: Schema, values_of: Callable[[int], Any]
) -> None:
    digests = put(store, schema, values_of(1))
    for part in store.stored(digests):
        swapped = part.digests[::-1] if len(part) > 1 else part.digests ^ np.uint8(1)
        lies = [replace(part, digests=np.ascontiguousarray(swapped)), replace(part, dtype="int3")]
        if len(part.data):
            lies.append(replace(part, data=part.data ^ np.uint8(1)))
            lies.append(replace(part, data=part.data[:-1]))
            lies.append(replace(part, sizes=part.sizes - 1))
        for lie in lies:
            with pytest.raises(DigestMismatchError):
                other.take(lie)
        with pytest.raises(DigestMismatchError):
            other.take(replace(part, kind="str" if part.kind != "str" else "bytes"))
    other.seal()
    assert not other.contains(digests).any()


def test_an_absent_value_is_not_given_out(store: TensorStore) -> None:
    with pytest.raises(ObjectNotFoundError):
        list(store.stored(np.zeros((1, 32), np.uint8)))


def test_values_that_compress_well_are_given_out_a_few_at_a_time(tmp_path: Path) -> None:
    """What one part decodes to is bounded, however small it is on its way."""
    disk = open_store(tmp_path)
    blobs = [bytes([number]) * (6 << 20) for number in range(12)]
    digests = put(disk, Schema("bytes", codec="blosc"), blobs)
    parts = list(disk.stored(digests))
    assert sum(map(len, parts)) == 12
    assert sum(len(part.data) for part in parts) < 1 << 20
    assert max(map(len, parts)) == 6
    disk.close()
