"""Tensors without a copy, and torch datasets in and back out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.utils.data import Dataset, IterableDataset  # noqa: E402

from tensorvcs.errors import InvalidInputError, SchemaMismatchError  # noqa: E402
from tensorvcs.interchange.pytorch import (  # noqa: E402
    array_of_tensor,
    from_torch_dataset,
    to_torch,
)
from tensorvcs.torch import TensorDataset  # noqa: E402
from tests.unit.formats.fakes import FakeTarget  # noqa: E402
from tests.unit.interchange.conftest import BOXES, IMAGES  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tensorvcs as tv

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def test_a_tensor_is_the_column(co: tv.Checkout) -> None:
    for name, wanted in (("images", IMAGES), ("boxes", BOXES)):
        tensor = to_torch(co[name])
        assert np.array_equal(tensor.numpy(), wanted)
        assert np.array_equal(to_torch(co[name], 5, -3).numpy(), wanted[5:-3])
    assert to_torch(co["halves"]).dtype == torch.bfloat16
    assert to_torch(co["images"], 9, 9).shape == (0, 16, 17, 3)


def test_writes_stay_in_the_tensor(co: tv.Checkout) -> None:
    """torch has no read-only tensors, so what a model does in place must not reach the store."""
    tensor = to_torch(co["images"], copy=False)
    tensor.zero_()
    assert not tensor.any()
    assert np.array_equal(co["images"][:], IMAGES)
    assert np.array_equal(co["images"].view(), IMAGES)
    assert np.array_equal(to_torch(co["images"]).numpy(), IMAGES)


def test_copies_where_there_is_no_map(co: tv.Checkout) -> None:
    assert to_torch(co["grids"])[9, 2, 3] == 9
    with pytest.raises(InvalidInputError, match="without a copy"):
        to_torch(co["grids"], copy=False)
    with pytest.raises(InvalidInputError, match="no one shape"):
        to_torch(co["tracks"])
    copied = to_torch(co["images"], copy=True)
    assert np.array_equal(copied.numpy(), IMAGES)


class Pictures(Dataset[Any]):
    """A map-style dataset, as people write them."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, place: int) -> tuple[Any, int, str]:
        if not 0 <= place < 50:
            raise IndexError(place)
        return torch.full((2, 3), place, dtype=torch.float32), place % 5, f"name {place}"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_comes_back_identical(empty: tv.Repository, workers: int) -> None:
    original = Pictures()
    with empty.edit() as edit:
        report = from_torch_dataset(
            original,
            edit,
            ["images", "labels", "names"],
            class_names={"labels": list("abcde")},
            workers=workers,
        )
        edit.commit("import")
    assert report.sample_counts == {"images": 50, "labels": 50, "names": 50}
    co = empty.checkout()
    again = TensorDataset(co, list(report.sample_counts))
    assert len(again) == len(original)
    for place in range(50):
        mine, theirs = again[place], original[place]
        assert torch.equal(mine[0], theirs[0])
        assert mine[0].dtype == theirs[0].dtype
        assert int(mine[1]) == theirs[1]
        assert mine[2] == theirs[2]
    assert list(co["labels_names"].values()) == list("abcde")


def test_samples_that_are_dicts_values_and_streams() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            for n in range(4):
                yield {"x": np.arange(n), "y": n / 2, "z": b"b", "skip": object()}

    target = FakeTarget()
    from_torch_dataset(Stream(), target, ["x", "y", "z"], keys=list("abcd"), variable_shape=["x"])
    assert target["x"]["d"].tolist() == [0, 1, 2]
    assert target["y"].values == {"a": 0, "b": 0.5, "c": 1, "d": 1.5}
    assert target["z"]["a"] == b"b"
    target = FakeTarget()
    halves = [torch.ones(2, dtype=torch.bfloat16)] * 3
    from_torch_dataset(halves, target)
    assert target["values"].schema.spelling == "bfloat16 (2)"
    from_torch_dataset([{"a": 1}, {"a": None}, {"a": 3}], target)
    assert target["a"].values == {0: 1, 2: 3}


def test_what_does_not_fit_is_named() -> None:
    def take(samples: Any, *columns: str, **options: Any) -> None:
        from_torch_dataset(samples, FakeTarget(), list(columns) or None, **options)

    with pytest.raises(SchemaMismatchError, match=r"'values'.*1") as caught:
        take([np.zeros(3), np.zeros(4)])
    assert caught.value.hint == "where shapes differ, say so: variable_shape=['values']"
    with pytest.raises(SchemaMismatchError, match="dtype"):
        take([np.zeros(3), np.zeros(3, np.float32)])
    with pytest.raises(InvalidInputError, match="2 parts, and there are 0 names"):
        take([(1, 2)])
    with pytest.raises(InvalidInputError, match="no field 'y'; it has x"):
        take([{"x": 1}], "y")
    with pytest.raises(InvalidInputError, match="no column holds a object"):
        take([object()])
    with pytest.raises(InvalidInputError, match="2 samples came with 1 keys"):
        take([1, 2], keys=["a"])
    with pytest.raises(InvalidInputError, match="has no samples"):
        take([])
    with pytest.raises(InvalidInputError, match="no value in the first 2 samples"):
        take([{"x": None}] * 2)
    with pytest.raises(InvalidInputError, match=r"sparse"):
        take([torch.eye(2).to_sparse()])
    with pytest.raises(InvalidInputError, match="no field 'w'"):
        take([1], variable_shape=["w"])
    with pytest.raises(InvalidInputError, match="one value, and there are 2"):
        take([1], "a", "b")


def test_an_iterable_dataset_may_end_elsewhere_than_its_keys() -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            yield from (1, 2)

    for keys in (["a"], ["a", "b", "c"]):
        with pytest.raises(InvalidInputError, match="keys"):
            from_torch_dataset(Stream(), FakeTarget(), keys=keys)
    with pytest.raises(InvalidInputError, match="one process"):
        from_torch_dataset(Stream(), FakeTarget(), workers=2)


def test_tensors_become_arrays_bit_for_bit() -> None:
    for dtype in (torch.uint16, torch.bool, torch.complex64, torch.float16, torch.float8_e5m2):
        tensor = torch.ones(2, 3).to(dtype)
        found = array_of_tensor(tensor.T.requires_grad_(False))
        assert found.shape == (3, 2)
        assert str(found.dtype) == str(dtype).removeprefix("torch.")
        assert found.tobytes() == tensor.view(torch.uint8).numpy().tobytes()
    needs_grad = torch.ones(2, requires_grad=True)
    assert array_of_tensor(needs_grad).tolist() == [1, 1]


def test_pictures_become_their_pixels() -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    picture = image.fromarray(pixels)
    target = FakeTarget()
    dataset = [{"rgb": picture, "grey": picture.convert("L"), "palette": picture.convert("P"),
                "bits": picture.convert("1"), "print": picture.convert("CMYK")}]  # fmt: skip
    from_torch_dataset(dataset, target)
    assert np.array_equal(target["rgb"][0], pixels)
    shapes = {name: column.schema.shape for name, column in target.columns.items()}
    assert shapes == {
        "rgb": (2, 2, 3), "grey": (2, 2), "palette": (2, 2, 3), "bits": (2, 2), "print": (2, 2, 3),
    }  # fmt: skip
    assert all(column.schema.dtype == "uint8" for column in target.columns.values())
