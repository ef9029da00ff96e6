from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorvcs.errors import InvalidKeyError, SampleNotFoundError
from tests import model
from tests.memory_repository import MemoryRepository
from tests.strategies import FEW_KEYS, KEYS

NESTED = st.dictionaries(
    KEYS, st.dictionaries(KEYS, st.integers(0, 9), min_size=1, max_size=4), max_size=5
)


def in_order(samples: dict[Any, dict[Any, Any]]) -> list[tuple[Any, list[tuple[Any, Any]]]]:
    return [
        (key, [(sub, samples[key][sub]) for sub in model.in_key_order(samples[key])])
        for key in model.in_key_order(samples)
    ]


@given(NESTED)
def test_any_nested_samples_come_back_in_order(samples: dict[Any, dict[Any, int]]) -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_ndarray_column("x", (), "int64", nested=True).update(samples))
    x = repo.checkout()["x"]
    assert [
        (key, [(sub, int(v)) for sub, v in subs.items()]) for key, subs in x.items()
    ] == in_order(samples)
    assert len(x) == len(samples)
    assert x.subsample_count == sum(map(len, samples.values()))
    assert list(x.keys()) == x.sample_keys() == model.in_key_order(samples)
    for key, subs in samples.items():
        assert key in x
        assert len(x[key]) == len(subs)
        assert x[key].read().tolist() == [n for _, n in dict(in_order(samples))[key]]


@given(NESTED, st.lists(st.integers(-5, 4)), st.sampled_from([(), (3,), (70,)]))
def test_many_samples_are_read_as_one_by_one(
    samples: dict[Any, dict[Any, int]], places: list[int], shape: tuple[int, ...]
) -> None:
    repo = MemoryRepository()
    values = {
        key: {sub: np.full(shape, n, "int64") for sub, n in subs.items()}
        for key, subs in samples.items()
    }
    repo.commit(lambda co: co.add_ndarray_column("x", shape, "int64", nested=True).update(values))
    x = repo.checkout()["x"]
    keys = x.sample_keys()
    places = [place for place in places if -len(keys) <= place < len(keys)]
    found = x.read(places)
    assert len(found) == len(places)
    for place, sample in zip(places, found, strict=True):
        expected = dict(x[keys[place]].items())
        assert list(sample) == list(expected)
        for sub, value in sample.items():
            assert type(value) is type(expected[sub]) is np.ndarray
            assert value.dtype == expected[sub].dtype
            assert np.array_equal(value, expected[sub])
            value += 1  # its own: the next reads are as before
    with pytest.raises(IndexError, match=f"position {len(keys)} is outside"):
        x.read([len(keys)])


def test_a_batch_of_samples_is_one_read() -> None:
    """Not one for each sample, and not all leaves for a few."""
    rows = np.arange(20_000.0 * 9).reshape(20_000, 9)
    samples = {f"s{n:04}": dict(enumerate(rows[4 * n : 4 * n + 4])) for n in range(5000)}
    repo = MemoryRepository()

    def fill(co: Any) -> None:
        co.add_ndarray_column("x", (9,), "float64", nested=True).update(samples)

    repo.commit(fill)
    x = repo.checkout()["x"]
    x.sample_keys()
    tensors: Any = repo.stores.tensors
    calls: list[int] = []
    read = tensors.read

    def counting(schema: Any, digests: Any) -> Any:
        calls.append(len(digests))
        return read(schema, digests)

    tensors.read = counting
    before = repo.objects.get_count
    (first, *_, last) = x.read([7, 8, 9, 7, 4000])
    assert calls == [20]
    assert repo.objects.get_count - before <= 8
    assert np.array_equal(first[3], rows[31])
    assert np.array_equal(last[0], rows[16_000])


@pytest.fixture
def co(repo: Any) -> Any:
    with repo.edit() as editor:
        scans = editor.add_ndarray_column("scans", (9, 9), "uint8", nested=True)
        scans["p1"] = {"s1": np.full((9, 9), 1, np.uint8), "s2": np.full((9, 9), 2, np.uint8)}
        scans["p10"] = {7: np.full((9, 9), 3, np.uint8)}
        texts = editor.add_str_column("texts", nested=True)
        texts["p1"] = {"a": "x"}
        editor.add_bytes_column("blobs", nested=True).update({1: {2: b"b"}})
        editor.add_ndarray_column("crops", (None,), "int8", nested=True, variable_shape=True)
        editor["crops"]["p1"]["a"] = np.zeros(3, np.int8)
        editor.commit("first")
        yield editor


@pytest.mark.parametrize("committed", [True, False])
def test_reading(co: Any, repo: Any, committed: bool) -> None:
    source = repo.checkout() if committed else co
    scans = source["scans"]
    assert scans["p1"]["s2"].max() == 2
    assert source["scans", "p1"]["s1"].min() == 1
    assert scans.get("nothing") is None or not committed
    assert "p" not in scans
    assert "p1" in scans
    assert True not in scans
    assert list(scans["p1"]) == ["s1", "s2"]
    assert "s1" in scans["p1"]
    assert True not in scans["p1"]
    assert scans["p1"].read().shape == (2, 9, 9)
    assert (scans.kind, scans.dtype, scans.shape, scans.is_nested) == (
        "ndarray",
        np.uint8,
        (9, 9),
        True,
    )
    assert source["texts"]["p1"]["a"] == "x"
    assert source["texts"]["p1"].read() == ["x"]
    assert source["texts"].read([0]) == [{"a": "x"}]
    assert source["blobs"].read([-1]) == [{2: b"b"}]
    assert [list(sample) for sample in scans.read([1, 0])] == [[7], ["s1", "s2"]]
    assert source["crops"].read([0])[0]["a"].shape == (3,)
    assert source["blobs"][1][2] == b"b"
    assert source["crops"]["p1"]["a"].shape == (3,)
    assert scans.positions(["p10", "p1"]).tolist() == [1, 0]
    assert not scans.has_same_keys(source["texts"])
    with pytest.raises(SampleNotFoundError, match=r"\('p1', 's3'\)"):
        scans["p1"]["s3"]
    with pytest.raises(SampleNotFoundError):
        scans.positions(["p1", "p2"])
    with pytest.raises(InvalidKeyError):
        scans[True]
    with pytest.raises(InvalidKeyError):
        scans["p1"][True]


def test_a_sample_that_is_not_there(repo: Any, co: Any) -> None:
    with pytest.raises(SampleNotFoundError):
        repo.checkout()["scans"]["p2"]
    # An editor gives an empty one, to be filled.
    assert len(co["scans"]["p2"]) == 0
    assert "p2" not in co["scans"]


def test_a_sample_lives_as_long_as_it_has_a_subsample(co: Any) -> None:
    scans, image = co["scans"], np.zeros((9, 9), np.uint8)
    scans["new"]["one"] = image
    assert "new" in scans
    assert len(scans) == 3
    del scans["new"]["one"]
    assert "new" not in scans
    assert len(scans) == 2
    scans["p1"] = {"s2": image, "s3": image}
    assert list(scans["p1"]) == ["s2", "s3"]
    scans["p1"] = {}
    assert "p1" not in scans
    scans.update({"p10": {8: image}, "q": {"x": image}})
    assert list(scans["p10"]) == [7, 8]
    del scans["p10"]
    assert list(scans) == ["q"]
    scans["q"].update({"y": image})
    assert scans["q"].pop("x").shape == (9, 9)
    assert scans["q"].pop("x", None) is None
    assert list(scans["q"]) == ["y"]
    scans.update({})
    co.commit("later")
    assert list(scans) == ["q"]


def test_what_is_assigned_reads_back_before_any_flush(co: Any) -> None:
    co["scans"]["p1"]["s1"] = np.full((9, 9), 9, np.uint8)
    assert co["scans"]["p1"]["s1"].max() == 9
    assert co._staged.has_edits_in("scans")
    del co["scans"]["p1"]["s1"]
    assert "s1" not in co["scans"]["p1"]
    with pytest.raises(SampleNotFoundError):
        co["scans"]["p1"]["s1"]
    assert co._staged.has_edits_in("scans")


STEP = st.one_of(
    st.tuples(st.just("put"), FEW_KEYS, FEW_KEYS, st.integers(0, 3)),
    st.tuples(st.just("set"), FEW_KEYS, st.dictionaries(FEW_KEYS, st.integers(0, 3), max_size=3)),
    st.tuples(st.just("delete"), FEW_KEYS, FEW_KEYS),
    st.tuples(st.just("drop"), FEW_KEYS),
    st.tuples(st.just("flush")),
)


@settings(max_examples=60)
@given(st.lists(STEP, max_size=20))
def test_any_edits_leave_what_they_leave_in_dicts(steps: list[Any]) -> None:
    repo = MemoryRepository()
    expected: dict[Any, dict[Any, int]] = {}
    with repo.edit() as co:
        x = co.add_ndarray_column("x", (), "int64", nested=True)
        for step, *rest in steps:
            match step:
                case "put":
                    x[rest[0]][rest[1]] = rest[2]
                    expected.setdefault(rest[0], {})[rest[1]] = rest[2]
                case "set":
                    x[rest[0]] = rest[1]
                    expected[rest[0]] = dict(rest[1])
                case "delete":
                    x[rest[0]].pop(rest[1], None)
                    expected.get(rest[0], {}).pop(rest[1], None)
                case "drop":
                    if rest[0] in x:
                        del x[rest[0]]
                    expected.pop(rest[0], None)
                case "flush":
                    co.flush()
            expected = {key: subs for key, subs in expected.items() if subs}
        found = [(key, [(sub, int(v)) for sub, v in subs.items()]) for key, subs in x.items()]
        assert found == in_order(expected)
