"""Splits by hash of the key: stable, disjoint, and without identical values on two sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("torch")

import tensorvcs as tv
from tensorvcs.errors import ColumnNotFoundError, InvalidInputError
from tensorvcs.torch import TensorDataset, TensorLoader
from tensorvcs.torch.key_hashes import key_hashes
from tensorvcs.torch.splits import split_places

if TYPE_CHECKING:
    from pathlib import Path

SHARES = {"train": 0.8, "test": 0.2}


@pytest.mark.parametrize("shares", [[0.8, 0.2], 0.8, {"train": "most"}])
def test_shares_have_names_and_numbers(shares: Any) -> None:
    with pytest.raises(InvalidInputError, match="numbers by name") as found:
        split_places(np.zeros(3, np.uint64), shares, 0)
    assert "train" in (found.value.hint or "")


def test_words_of_keys_depend_on_the_key_alone() -> None:
    keys: list[Any] = [3, -3, 0, 2**63 - 1, "a", "ab", "a" * 8, "a" * 9, "é", "a" * 300, "3"]
    words = key_hashes(keys)
    assert len(set(words.tolist())) == len(keys)
    for key, word in zip(keys, words, strict=True):
        assert key_hashes([key])[0] == word
    assert key_hashes([7, "cat/1"]).tolist() == [17454865949639441193, 15227540132318853845]
    assert key_hashes([]).shape == (0,)
    many = [f"k{n}" for n in range(70_000)]
    assert len(set(key_hashes(many).tolist())) == 70_000


def test_parts_are_disjoint_and_about_as_large_as_asked() -> None:
    hashes = key_hashes(range(20_000))
    parts = split_places(hashes, {"a": 7, "b": 2, "c": 1, "none": 0}, 3)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(20_000))
    sizes = [len(part) for part in parts.values()]
    assert np.allclose(sizes, [14_000, 4000, 2000, 0], atol=250)
    assert not np.array_equal(split_places(hashes, SHARES, 4)["test"], parts["b"])
    for shares in ({}, {"a": 0}, {"a": 1, "b": -1}, {"a": np.inf}):
        with pytest.raises(InvalidInputError):
            split_places(hashes, shares, 0)


def keys_of(dataset: TensorDataset) -> set[Any]:
    return set(dataset.keys_at(range(len(dataset))))


def test_no_sample_moves_when_the_data_grows(tmp_path: Path) -> None:
    with tv.init(tmp_path, user_name="A", user_email="a") as repo:
        with repo.edit() as edit:
            column = edit.add_ndarray_column("x", (), "int64")
            column.extend(np.arange(300), keys=[f"k{n}" for n in range(300)])
            edit.commit("300")
            before = TensorDataset(repo.checkout(), "x").split(SHARES, seed=1)
            column.extend(np.arange(200), keys=[f"a{n}" for n in range(200)])
            column["k7"] = 1000
            del column["k8"]
            edit.commit("more")
        after = TensorDataset(repo.checkout(), "x").split(SHARES, seed=1)
        for name in SHARES:
            assert keys_of(before[name]) - {"k8"} <= keys_of(after[name])
        assert not keys_of(after["train"]) & keys_of(after["test"])
        assert len(after["train"]) + len(after["test"]) == 499
        seen = [int(n) for batch in TensorLoader(after["test"], batch_size=8) for n in batch]
        assert len(seen) == len(after["test"])


@pytest.mark.parametrize("shape", [(2,), (40, 40)])
def test_identical_values_stay_together(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rows = np.random.default_rng(0).integers(0, 2**31, (300, *shape))
    rows[200:] = rows[:100]
    with tv.init(tmp_path, user_name="A", user_email="a") as repo:
        with repo.edit() as edit:
            edit.add_ndarray_column("x", shape, "int64").extend(rows)
            edit.add_ndarray_column("author", (), "int32").extend(
                np.arange(300, dtype=np.int32) % 150
            )
            edit.add_str_column("note").extend(["same", *map(str, range(299))])
            nested: Any = edit.add_ndarray_column("n", (), "int8", nested=True)
            nested[0] = {"a": 1}
            edit.commit("twins")
        dataset = TensorDataset(repo.checkout(), ["author", "x"])

        def leaks(parts: dict[str, TensorDataset], column: str) -> int:
            train, test = (
                {value.tobytes() for value in repo.checkout()[column].read(list(keys_of(p)))}
                for p in parts.values()
            )
            return len(train & test)

        assert leaks(dataset.split(SHARES), "x") > 0
        together = dataset.split(SHARES, identical="x")
        assert leaks(together, "x") == 0
        # What has no twin is where it would be without.
        single = set(range(100, 200))
        alone = dataset.split(SHARES)
        for name in SHARES:
            assert keys_of(together[name]) & single == keys_of(alone[name]) & single
        both = dataset.split({"a": 1, "b": 1}, identical=["x", "author"])
        assert leaks(both, "x") == leaks(both, "author") == 0
        assert min(map(len, both.values())) > 0
        picked = dataset.subset([5, 205, 7, 299, 250]).split(SHARES, identical="x")
        assert leaks(picked, "x") == 0
        assert sum(map(len, dataset.split(SHARES, identical="note").values())) == 300
        with pytest.raises(InvalidInputError, match="nested"):
            dataset.split(SHARES, identical="n")
        with pytest.raises(ColumnNotFoundError):
            dataset.split(SHARES, identical="masks")


def test_subsets_by_mask_and_by_places(checkout: tv.Checkout) -> None:
    dataset = TensorDataset(checkout, ["labels", "images"])
    odd = dataset.subset(dataset.values_of("labels") % 2 == 1)
    assert [int(odd[n][0]) for n in range(len(odd))] == list(range(1, 203, 2))
    few = odd.subset([3, 0, -1])
    assert few.keys_at(range(3)) == ["k007", "k001", "k201"]
    assert few.values_of("labels").tolist() == [7, 1, 201]
    assert few.values_of("texts").tolist() == ["K007", "K001", "K201"]
    assert few.key_hashes().tolist() == key_hashes(["k007", "k001", "k201"]).tolist()
    assert len(dataset.subset([])) == 0
    wrong: Any
    for wrong in ([True], [0.5]):
        with pytest.raises(InvalidInputError):
            dataset.subset(wrong)
    with pytest.raises(IndexError):
        dataset.subset([203])
    with pytest.raises(InvalidInputError, match="not one number"):
        dataset.values_of("images")
    loader = TensorLoader(few, batch_size=8, shuffle=False)
    (labels, _), = loader  # fmt: skip
    assert labels.tolist() == [7, 1, 201]
    with pytest.raises(tv.errors.OtherDataError):
        TensorLoader(odd, batch_size=8, shuffle=False).load_state_dict(loader.state_dict())
