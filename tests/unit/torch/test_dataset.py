"""TensorDataset alone and under a DataLoader."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, Subset, random_split  # noqa: E402

import tensorvcs as tv  # noqa: E402
from tensorvcs.errors import (  # noqa: E402
    ColumnNotFoundError,
    InvalidInputError,
    SampleNotFoundError,
)
from tensorvcs.torch import Batch, TensorDataset  # noqa: E402
from tests.memory_repository import MemoryRepository  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

COUNT = 300
ROWS = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 9, 3), np.uint8)
KEYS = [f"k{n:03}" for n in range(COUNT)]


@pytest.fixture(scope="module")
def co(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tv.Checkout]:
    path: Path = tmp_path_factory.mktemp("torch")
    with tv.init(path, user_name="Ada", user_email="ada@example.org") as repo:
        with repo.edit() as edit:
            edit.add_ndarray_column("images", (8, 9, 3), "uint8").extend(ROWS, keys=KEYS)
            edit.add_ndarray_column("labels", (), "int64").extend(np.arange(COUNT), keys=KEYS)
            crops = edit.add_ndarray_column("crops", (8, 9), "float32", variable_shape=True)
            crops.update({key: ROWS[n, : n % 8, :, 0].astype("f4") for n, key in enumerate(KEYS)})
            edit.add_str_column("texts").update({key: key.upper() for key in KEYS})
            scans: Any = edit.add_ndarray_column("scans", (2,), "int16", nested=True)
            scans.update({key: {"a": [n, 1], 7: [n, 2]} for n, key in enumerate(KEYS)})
            edit.add_ndarray_column("few", (), "int64").update(dict.fromkeys(KEYS[5:9], 1))
            edit.add_ndarray_column("halves", (3,), "bfloat16").extend(
                np.ones((COUNT, 3)).astype(edit.add_ndarray_column("x", (), "bfloat16").dtype),
                keys=KEYS,
            )
            edit.add_ndarray_column("unsigned", (), "uint16").extend(
                np.arange(COUNT, dtype=np.uint16), keys=KEYS
            )
            edit.commit("all")
        yield repo.checkout()


def test_a_sample_is_a_tuple_a_dict_or_the_value(co: tv.Checkout) -> None:
    ds = TensorDataset(co, ["images", "labels"])
    assert len(ds) == COUNT
    image, label = ds[3]
    assert isinstance(ds[3], tuple)
    assert image.dtype == torch.uint8
    assert np.array_equal(image.numpy(), ROWS[3])
    assert (label.dtype, label.shape, int(label)) == (torch.int64, (), 3)
    sample = TensorDataset(co, ["images", "labels"], as_dict=True)[-1]
    assert list(sample) == ["images", "labels"]
    assert int(sample["labels"]) == COUNT - 1
    assert int(TensorDataset(co, "labels")[np.int64(7)]) == 7
    assert TensorDataset(co, "labels", as_dict=True)[0].keys() == {"labels"}
    assert TensorDataset(co, ["labels"])[0] == (torch.tensor(0),)
    assert "2 " not in repr(ds)
    assert repr(ds) == "<TensorDataset of 300 samples: images, labels>"


def test_values_of_every_kind(co: tv.Checkout) -> None:
    ds = TensorDataset(co, ["crops", "texts", "scans", "halves", "unsigned"])
    crop, text, scan, half, unsigned = ds[5]
    assert (crop.shape, crop.dtype) == ((5, 9), torch.float32)
    assert text == "K005"
    assert {key: value.tolist() for key, value in scan.items()} == {7: [5, 2], "a": [5, 1]}
    assert (half.dtype, half.tolist()) == (torch.bfloat16, [1.0, 1.0, 1.0])
    assert (unsigned.dtype, int(unsigned)) == (torch.uint16, 5)


def test_tensors_can_be_written_to_and_are_copies(co: tv.Checkout) -> None:
    for name in ("images", "labels", "crops"):
        ds = TensorDataset(co, name)
        before = ds[2].clone()
        ds[2].zero_()
        batch = ds[[2, 3]]
        batch[0].zero_()
        assert torch.equal(ds[2], before)


def test_many_at_once(co: tv.Checkout) -> None:
    ds = TensorDataset(co, ["images", "labels"])
    for places in ([5, 1, -1], slice(3, 9, 2), range(4), np.array([2, 1]), torch.tensor([9, 8])):
        expected = np.arange(COUNT)[places]
        images, labels = ds[places]
        assert labels.tolist() == expected.tolist()
        assert np.array_equal(images.numpy(), ROWS[expected])
    assert ds[[]][0].shape == (0, 8, 9, 3)
    assert TensorDataset(co, "labels")[:3].tolist() == [0, 1, 2]
    doubled = TensorDataset(co, "labels", transform=lambda label: int(label) * 2)
    assert doubled[:3] == [0, 2, 4]


@pytest.mark.parametrize("place", [COUNT, -COUNT - 1, [COUNT], [0, -COUNT - 1]])
def test_a_place_outside_is_refused(co: tv.Checkout, place: Any) -> None:
    with pytest.raises(IndexError):
        TensorDataset(co, ["images", "labels"])[place]


@pytest.mark.parametrize(
    "place", [True, 1.0, "k001", [0.5], [True, False], torch.tensor([True]), np.zeros(2)]
)
def test_a_place_is_an_int(co: tv.Checkout, place: Any) -> None:
    with pytest.raises((InvalidInputError, TypeError)):
        TensorDataset(co, ["images", "labels"])[place]


def test_chosen_keys_in_their_order(co: tv.Checkout) -> None:
    ds = TensorDataset(co, ["few", "labels", "scans"], keys=["k007", "k005", "k007"])
    assert len(ds) == 3
    assert [int(label) for _, label, _ in (ds[n] for n in range(3))] == [7, 5, 7]
    assert ds[2][2]["a"].tolist() == [7, 1]
    with pytest.raises(SampleNotFoundError, match=r"'few'.*'k000'"):
        TensorDataset(co, ["labels", "few"], keys=["k005", "k000"])
    assert len(TensorDataset(co, "labels", keys=[])) == 0


def test_columns_must_have_the_same_samples(co: tv.Checkout) -> None:
    with pytest.raises(InvalidInputError, match=r"'labels' and 'few'.*296 only in the first") as e:
        TensorDataset(co, ["labels", "few"])
    assert "keys=" in (e.value.hint or "")
    assert len(TensorDataset(co, ["scans", "labels"])) == COUNT
    for columns, error in [
        (["labels", "nothing"], ColumnNotFoundError),
        ("nothing", ColumnNotFoundError),
        ([], InvalidInputError),
        (["labels", "labels"], InvalidInputError),
    ]:
        with pytest.raises(error):
            TensorDataset(co, columns)
    with pytest.raises(InvalidInputError):
        TensorDataset(co)  # every column, `few` among them


def test_a_pickled_dataset_is_small(co: tv.Checkout) -> None:
    ds = TensorDataset(co, ["images", "labels", "crops"])
    assert len(ds[:]) == 3  # tables are cached now
    pickled = pickle.dumps(ds)
    assert len(pickled) < 2000
    found = pickle.loads(pickled)
    assert torch.equal(found[7][0], ds[7][0])


class Counting(TensorDataset):
    """Counts the calls of a DataLoader."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.single_count = self.batch_count = 0

    def __getitem__(self, place: Any) -> Any:
        self.single_count += 1
        return super().__getitem__(place)

    def __getitems__(self, places: Any) -> Any:
        self.batch_count += 1
        return super().__getitems__(places)


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        (["images", "labels"], {}),
        (["images", "labels"], {"as_dict": True}),
        ("labels", {}),
        (["images", "labels"], {"transform": lambda sample: sample}),
        (["images", "labels"], {"as_dict": True, "transform": lambda sample: sample}),
    ],
)
def test_a_loader_reads_a_batch_in_one_call(
    co: tv.Checkout, columns: Any, options: dict[str, Any]
) -> None:
    ds = Counting(co, columns, **options)
    batches = list(DataLoader(ds, 64))
    assert (ds.single_count, ds.batch_count) == (0, 5)
    is_dict = options.get("as_dict", False)
    labels = torch.cat(
        [b["labels"] if is_dict else b if columns == "labels" else b[1] for b in batches]
    )
    assert labels.tolist() == list(range(COUNT))
    if is_dict:
        assert all(type(batch) is dict for batch in batches)
    if columns != "labels":
        images = torch.cat([batch["images"] if is_dict else batch[0] for batch in batches])
        assert images.dtype == torch.uint8
        assert np.array_equal(images.numpy(), ROWS)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_read_the_same(co: tv.Checkout, method: str) -> None:
    ds = TensorDataset(co, ["images", "labels", "texts"])
    assert len(ds[:2]) == 3
    loader = DataLoader(ds, 50, num_workers=2, multiprocessing_context=method)
    batches = list(loader)
    assert torch.cat([labels for _, labels, _ in batches]).tolist() == list(range(COUNT))
    assert np.array_equal(torch.cat([images for images, _, _ in batches]).numpy(), ROWS)
    assert [text for *_, texts in batches for text in texts] == [key.upper() for key in KEYS]


def test_subsets_and_shuffles(co: tv.Checkout) -> None:
    ds = TensorDataset(co, ["images", "labels"])
    labels = torch.cat([labels for _, labels in DataLoader(Subset(ds, [9, 3, 200]), 2)])
    assert labels.tolist() == [9, 3, 200]
    parts = random_split(ds, [200, 100], generator=torch.Generator().manual_seed(1))
    seen = [int(n) for part in parts for _, labels in DataLoader(part, 32) for n in labels]
    assert sorted(seen) == list(range(COUNT))
    for images, labels in DataLoader(ds, 64, shuffle=True, drop_last=True):
        assert len(labels) == 64
        assert np.array_equal(images.numpy(), ROWS[labels.numpy()])


def test_a_batch_sampler_without_collating(co: tv.Checkout) -> None:
    ds = TensorDataset(co, ["images", "labels"])
    order = np.random.default_rng(0).permutation(COUNT).reshape(-1, 50)
    batches = list(DataLoader(ds, batch_size=None, sampler=order))
    assert np.array_equal(torch.cat([labels for _, labels in batches]).numpy(), order.reshape(-1))


def test_what_varies_comes_as_lists(co: tv.Checkout) -> None:
    ds = TensorDataset(co, ["crops", "texts", "scans", "labels"])
    crops, texts, scans, labels = next(iter(DataLoader(ds, 4)))
    assert [tuple(crop.shape) for crop in crops] == [(0, 9), (1, 9), (2, 9), (3, 9)]
    assert texts == ["K000", "K001", "K002", "K003"]
    assert scans[3]["a"].tolist() == [3, 1]
    assert labels.tolist() == [0, 1, 2, 3]


def test_a_batch_is_a_sequence_of_samples(co: tv.Checkout) -> None:
    batch = TensorDataset(co, ["images", "labels"]).__getitems__([4, 2])
    assert isinstance(batch, Batch)
    assert len(batch) == 2
    assert [int(label) for _, label in batch] == [4, 2]
    assert int(batch[-1][1]) == 2
    assert len(batch[:1]) == 1
    with pytest.raises(IndexError):
        batch[2]
    assert repr(batch) == "<Batch of 2: images, labels>"
    moved = batch.to("cpu", non_blocking=True)
    assert torch.equal(moved.columns[0], batch.columns[0])
    assert batch.to("meta").columns[0].device.type == "meta"


def test_an_editor_can_be_looked_at_too(tmp_path: Path) -> None:
    with tv.init(tmp_path, user_name="Ada", user_email="a") as repo, repo.edit() as edit:
        edit.add_ndarray_column("labels", (), "int64").extend([1, 2, 3])
        ds = TensorDataset(edit)
        assert [int(label) for (label,) in (ds[n] for n in range(3))] == [1, 2, 3]


# What changed since a revision


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[tv.Repository]:
    """Return a repository of 20 samples, of which "k03" and "k04" were modified and more came."""
    keys = [f"k{n:02}" for n in range(20)]
    with tv.init(tmp_path, user_name="Ada", user_email="a") as repo:
        with repo.edit() as edit:
            edit.add_ndarray_column("x", (40,), "float32").extend(np.ones((20, 40), "f4"), keys)
            edit.add_ndarray_column("y", (), "int64").extend(np.arange(20), keys)
            scans: Any = edit.add_ndarray_column("s", (), "int64", nested=True)
            scans.update({key: {"a": 1, "b": 2} for key in keys})
            edit.commit("one")
        repo.create_tag("one")
        with repo.edit() as edit:
            edit["y"].update({"k03": 30, "a": 1})
            edit["x"].update({"k04": np.zeros(40, "f4"), "a": np.zeros(40, "f4")})
            for name in ("x", "y", "s"):
                del edit[name]["k07"]
            edit["s"]["a"] = {"a": 1}
            edit["s"]["k05"]["c"] = 1
            edit["s"]["k06"]["a"] = 9
            del edit["s"]["k08"]["b"]
            edit.commit("two")
        yield repo


def names(dataset: TensorDataset) -> list[Any]:
    return dataset.keys_at(range(len(dataset)))


def test_what_was_added_or_modified_since(changing: tv.Repository) -> None:
    co = changing.checkout()
    both = TensorDataset(co, ["x", "y"])
    assert names(both.since("one")) == ["a", "k03", "k04"]
    assert names(both.since(changing.resolve("one"))) == ["a", "k03", "k04"]
    assert [int(both.since("main~1")[n][1]) for n in range(3)] == [1, 30, 4]
    assert names(TensorDataset(co, "y").since("one")) == ["a", "k03"]
    assert names(TensorDataset(co, "s").since("one")) == ["a", "k05", "k06", "k08"]
    assert names(both.since("HEAD")) == []
    # The other way round, a sample that was deleted is an added one.
    past = TensorDataset(changing.checkout("one"), ["x", "y"])
    assert names(past.since("main")) == ["k03", "k04", "k07"]
    with pytest.raises(tv.errors.RevisionNotFoundError):
        both.since("none")


def test_what_changed_of_a_part(changing: tv.Repository) -> None:
    co = changing.checkout()
    chosen = TensorDataset(co, ["x", "y"], keys=["k19", "k04", "k09", "a"])
    assert names(chosen.since("one")) == ["k04", "a"]
    whole = TensorDataset(co, ["x", "y"])
    parts = whole.split({"train": 0.5, "test": 0.5})
    changed = [set(names(part.since("one"))) for part in parts.values()]
    assert changed[0] | changed[1] == {"a", "k03", "k04"}
    assert not changed[0] & changed[1]


def test_columns_that_are_new_or_have_another_name(changing: tv.Repository) -> None:
    with changing.edit() as edit:
        edit.rename_column("y", "label")
        edit["label"]["k10"] = 7
        edit.add_ndarray_column("z", (), "int64").update(dict.fromkeys(edit["label"], 1))
        edit.commit("three")
    co = changing.checkout()
    assert names(TensorDataset(co, ["x", "label"]).since("one")) == ["a", "k03", "k04", "k10"]
    assert len(TensorDataset(co, ["x", "z"]).since("one")) == 20
    with changing.edit() as edit:
        edit["label"]["k11"] = 5
        assert names(TensorDataset(edit, "label").since("HEAD")) == ["k11"]


def test_the_cost_of_what_changed_follows_the_change() -> None:
    repo = MemoryRepository()

    def fill(edit: Any) -> None:
        edit.add_ndarray_column("x", (), "int64").extend(np.arange(200_000))

    repo.commit(fill)
    repo.commit(lambda edit: edit["x"].update({17: -1, 190_000: -1}))
    co = repo.checkout()
    ds = TensorDataset(co, "x")
    before = repo.objects.get_count
    assert names(ds.since("HEAD~1")) == [17, 190_000]
    assert repo.objects.get_count - before < 40 < len(repo.objects.objects) // 5
