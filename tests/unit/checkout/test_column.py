"""Reading: every way to select samples of a column gives what was put there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    InvalidKeyError,
    ReadOnlyError,
    SampleNotFoundError,
)
from tensorvcs.objects.dtype import DTYPE_NAMES, dtype_from_name
from tests import model
from tests.memory_repository import MemoryRepository
from tests.strategies import KEYS, arrays

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 30
KEYS_IN_ORDER = [*range(-2, 18), *(f"k{n:02}" for n in range(10))]


def image_of(key: Any) -> Any:
    seed = KEYS_IN_ORDER.index(key)
    return np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)


def crop_of(key: Any) -> Any:
    return image_of(key)[: 1 + KEYS_IN_ORDER.index(key) % 6]


def fill(co: Any) -> None:
    images = co.add_ndarray_column("images", (6, 5, 3), "uint8")
    labels = co.add_ndarray_column("labels", (2,), "int16")
    crops = co.add_ndarray_column("crops", (6, 5, 3), "uint8", variable_shape=True)
    texts, blobs = co.add_str_column("texts"), co.add_bytes_column("blobs")
    for at in np.random.default_rng(3).permutation(COUNT).tolist():
        key: Any = KEYS_IN_ORDER[at]
        images[key] = image_of(key)
        labels[key] = [at, -at]
        crops[key] = crop_of(key)
        texts[key] = f"text of {key}"
        blobs[key] = str(key).encode() * at


EXPECTED: dict[str, dict[Any, Any]] = {
    "images": {key: image_of(key) for key in KEYS_IN_ORDER},
    "labels": {key: np.array([at, -at], np.int16) for at, key in enumerate(KEYS_IN_ORDER)},
    "crops": {key: crop_of(key) for key in KEYS_IN_ORDER},
    "texts": {key: f"text of {key}" for key in KEYS_IN_ORDER},
    "blobs": {key: str(key).encode() * at for at, key in enumerate(KEYS_IN_ORDER)},
}
COLUMNS = list(EXPECTED)


@pytest.fixture
def co(repo: Any) -> Any:
    with repo.edit() as editor:
        fill(editor)
        editor.commit("all")
    return repo.checkout()


def is_equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, np.ndarray):
        return bool(
            found.dtype == expected.dtype
            and found.shape == expected.shape
            and found.tobytes() == expected.tobytes()
        )
    return type(found) is type(expected) and found == expected


def check_many(name: str, found: Any, keys: list[Any]) -> None:
    """Many samples of a fixed shape are one array; others are a list."""
    expected = [EXPECTED[name][key] for key in keys]
    if name in ("images", "labels"):
        stack = np.stack(expected) if expected else np.empty((0, *found.shape[1:]), found.dtype)
        assert is_equal(found, stack)
    else:
        assert isinstance(found, list)
        assert len(found) == len(expected)
        assert all(is_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", COLUMNS)
def test_one_sample(co: Any, name: str) -> None:
    for key, expected in EXPECTED[name].items():
        assert is_equal(co[name][key], expected)
        assert is_equal(co[name, key], expected)
    assert is_equal(co[name][np.int64(3)], EXPECTED[name][3])
    assert is_equal(co[name][np.str_("k03")], EXPECTED[name]["k03"])


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(
    "keys",
    [
        [],
        [4],
        ["k03", -2, 17, "k00"],
        [5, 5, "k01", 5],
        KEYS_IN_ORDER[::-1],
        range(3, 9, 2),
        range(9, 3, -1),
        np.array([7, 2, 2]),
        np.array([7, 2], np.uint8),
        np.array(["k04", "k02"]),
        np.array([1, "k02"], object),
    ],
)
def test_many_samples_by_key(co: Any, name: str, keys: Any) -> None:
    check_many(name, co[name][keys], list(keys))


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(
    "span",
    [
        slice(None), slice(0, 4), slice(10, 10), slice(20, 5), slice(-3, None), slice(None, 1000),
        slice(None, None, 7), slice(None, None, -1), slice(20, 3, -4), slice(28, 30),
        slice(np.int64(2), np.int8(9)),
    ],
)  # fmt: skip
def test_many_samples_by_position(co: Any, name: str, span: slice) -> None:
    check_many(name, co[name][span], KEYS_IN_ORDER[span])
    # The second read may go another way than the first.
    check_many(name, co[name][span], KEYS_IN_ORDER[span])


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(
    "positions",
    [
        [], [0], [29, 0, 29], [-1, -30], (3, 4), range(5), np.array([2, 1], np.uint8),
        np.array([2, 1], np.uint64), np.arange(COUNT)[::-1], np.flatnonzero(np.arange(COUNT) % 2),
    ],
)  # fmt: skip
def test_read_by_positions(co: Any, name: str, positions: Any) -> None:
    check_many(name, co[name].read(positions), [KEYS_IN_ORDER[at] for at in positions])


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("positions", [[COUNT], [-COUNT - 1], [0, 2**40], np.array([2**63], "u8")])
def test_a_position_outside_is_refused(co: Any, name: str, positions: Any) -> None:
    for _ in range(2):
        with pytest.raises(IndexError):
            co[name].read(positions)


@pytest.mark.parametrize("positions", [[0.0], [True], ["k00"], [[0, 1]], 3, None, [None]])
def test_positions_are_ints_on_one_axis(co: Any, positions: Any) -> None:
    with pytest.raises(InvalidInputError):
        co["images"].read(positions)


@pytest.mark.parametrize("name", ["images", "labels"])
def test_read_into_a_buffer(co: Any, name: str) -> None:
    expected = co[name].read([3, 1])
    out = np.empty_like(expected)
    assert co[name].read([3, 1], out=out) is out
    assert is_equal(out, expected)
    frozen = out.copy()
    frozen.flags.writeable = False
    sparse = np.repeat(out, 2, axis=0)[::2]
    for wrong in (out[:1], out.astype(np.int64), out.reshape(-1), frozen, sparse, out.tolist()):
        before = np.array(wrong)
        with pytest.raises(InvalidInputError):
            co[name].read([3, 1], out=wrong)
        assert is_equal(np.array(wrong), before)


def test_only_a_fixed_shape_goes_into_a_buffer(co: Any) -> None:
    with pytest.raises(InvalidInputError, match="fixed shape"):
        co["crops"].read([0], out=np.empty((1, 1, 5, 3), np.uint8))


@pytest.mark.parametrize("name", COLUMNS)
def test_values_are_copies(co: Any, name: str) -> None:
    column = co[name]
    reads: list[Callable[[], Any]] = [
        lambda: column[3],
        lambda: column[[3, 4]],
        lambda: column[:3],
        lambda: column.read([5]),
    ]
    for read in reads:
        value = read()
        value = value[0] if isinstance(value, list) else value
        if isinstance(value, np.ndarray):
            before = value.copy()
            assert value.flags.writeable
            value[...] = 7
            again = read()
            assert is_equal(again[0] if isinstance(again, list) else again, before)


@pytest.mark.parametrize("name", COLUMNS)
def test_iteration_is_in_key_order(co: Any, name: str) -> None:
    column = co[name]
    assert list(column) == list(column.keys()) == KEYS_IN_ORDER
    assert all(type(key) in (int, str) for key in column)
    assert len(column) == len(column.keys()) == len(column.items()) == len(column.values()) == COUNT
    for (key, value), other in zip(column.items(), column.values(), strict=True):
        assert is_equal(value, EXPECTED[name][key])
        assert is_equal(other, value)
    check_many(name, column.to_numpy(), KEYS_IN_ORDER)


def test_keys_are_a_set_with_places(co: Any) -> None:
    keys = co["labels"].keys()
    assert keys[0] == -2
    assert keys[-1] == "k09"
    assert keys[18:22] == [16, 17, "k00", "k01"]
    assert keys[::-10] == KEYS_IN_ORDER[::-10]
    assert keys[5:5] == []
    assert keys & {"k01", "zz"} == {"k01"}
    assert "k01" in keys
    assert True not in keys
    with pytest.raises(IndexError):
        keys[COUNT]
    assert repr(keys) == "<30 keys: -2, -1, 0, 1, 2, 3, …>"
    assert co["labels"].positions(["k00", -2]).tolist() == [20, 0]
    assert co["labels"].positions([]).tolist() == []


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("key", [100, "absent", "", "k1", "K01", 2**70])
def test_a_key_that_is_not_there(co: Any, name: str, key: Any) -> None:
    column = co[name]
    assert key not in column
    assert column.get(key, "default") == "default" if key not in ("", 2**70) else True
    with pytest.raises((SampleNotFoundError, InvalidKeyError)):
        column[key]
    with pytest.raises((SampleNotFoundError, InvalidKeyError)):
        column[[0, key]]
    with pytest.raises((SampleNotFoundError, InvalidKeyError)):
        column.positions([key])


def test_all_absent_keys_are_named(co: Any) -> None:
    with pytest.raises(SampleNotFoundError, match=r"'labels' has no samples 'x', 99$"):
        co["labels"][["x", 0, 99]]
    with pytest.raises(SampleNotFoundError, match="and 3 more"):
        co["labels"][list(range(100, 108))]
    with pytest.raises(KeyError):
        co["labels"]["x"]


@pytest.mark.parametrize(
    "selection",
    [True, None, 1.0, b"k00", ("k00", "k01"), np.zeros(COUNT, np.bool_), np.array([0.5]), [True]],
)
def test_what_is_no_selection_is_refused(co: Any, selection: Any) -> None:
    with pytest.raises(InvalidKeyError):
        co["labels"][selection]
    if not isinstance(selection, (np.ndarray, list)):
        assert selection not in co["labels"]


def test_a_slice_goes_by_position(co: Any) -> None:
    with pytest.raises(InvalidInputError, match="by position"):
        co["labels"]["k00":"k03"]
    with pytest.raises(InvalidInputError, match="zero"):
        co["labels"][::0]


def test_columns_say_what_they_hold(co: Any) -> None:
    assert list(co) == list(co.columns) == sorted(COLUMNS)
    assert len(co) == 5
    assert "images" in co
    assert "nothing" not in co
    images, crops, texts = co["images"], co["crops"], co["texts"]
    assert (images.kind, images.dtype, images.shape) == ("ndarray", np.uint8, (6, 5, 3))
    assert (crops.shape, crops.schema.variable_shape) == ((6, 5, 3), True)
    assert (texts.kind, texts.dtype, texts.shape, texts.is_nested) == ("str", None, None, False)
    assert repr(images) == "<Column 'images': 30 × uint8 (6, 5, 3)>"
    with pytest.raises(ColumnNotFoundError, match=r"'nothing'.*blobs, crops"):
        co["nothing"]


def test_a_checkout_is_read_only(co: Any) -> None:
    writes: list[Callable[[], Any]] = [
        lambda: co.__setitem__(("labels", 0), [1, 1]),
        lambda: co.__setitem__("labels", {}),
        lambda: co.__delitem__("labels"),
    ]
    for write in writes:
        with pytest.raises(ReadOnlyError, match="read-only"):
            write()
    assert not hasattr(co["labels"], "extend")
    with pytest.raises(TypeError):
        co["labels"][0] = [1, 1]


def test_columns_with_the_same_keys_know_it(co: Any, repo: Any) -> None:
    assert co["images"].has_same_keys(co["texts"])
    with repo.edit() as editor:
        del editor["texts"]["k05"]
        editor["blobs"]["k05x"] = b""
        del editor["blobs"]["k05"]
        editor.commit("fewer")
    later = repo.checkout()
    assert not later["images"].has_same_keys(later["texts"])
    assert not later["images"].has_same_keys(later["blobs"])
    assert later["images"].has_same_keys(co["images"])


def test_an_empty_column_reads_as_empty(repo: Any) -> None:
    with repo.edit() as editor:
        editor.add_ndarray_column("wide", (100,), "float32")
        editor.add_ndarray_column("small", (2,), "float32")
        editor.add_str_column("texts")
        editor.commit("empty")
    co = repo.checkout()
    for name, shape in [("wide", (0, 100)), ("small", (0, 2))]:
        assert co[name][:].shape == co[name][[]].shape == co[name].read([]).shape == shape
        assert co[name][:].dtype == np.float32
        assert list(co[name].items()) == []
        with pytest.raises(IndexError):
            co[name].read([0])
    assert co["texts"][:] == co["texts"].read([]) == []


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("shape", [(), (0,), (0, 200), (3,), (200,), (0, 0, 3)])
def test_every_dtype_and_shape_comes_back(repo: Any, dtype: str, shape: tuple[int, ...]) -> None:
    kind = dtype_from_name(dtype)
    rng = np.random.default_rng(5)
    nbytes = int(np.prod(shape, dtype=int)) * kind.itemsize
    values = {}
    for key in (0, "a", "b"):
        content = rng.integers(0, 2 if dtype == "bool" else 256, nbytes, np.uint8)
        values[key] = content.view(kind).reshape(shape)
    with repo.edit() as editor:
        fixed = editor.add_ndarray_column("fixed", shape, dtype)
        varying = editor.add_ndarray_column("varying", shape, dtype, variable_shape=True)
        nested = editor.add_ndarray_column("nested", shape, dtype, nested=True)
        for key, value in values.items():
            fixed[key] = varying[key] = value
            nested["sample"][key] = value
        editor.commit("values")
    co = repo.checkout()
    for key, value in values.items():
        for found in (co["fixed"][key], co["varying"][key], co["nested"]["sample"][key]):
            assert is_equal(found, value)
    assert is_equal(co["fixed"][:], np.stack(list(values.values())))
    assert is_equal(co["fixed"].read([2, 0]), np.stack([values["b"], values[0]]))


@given(st.dictionaries(KEYS, arrays("float32", (2,)), max_size=12))
def test_any_keys_and_any_bits_come_back(samples: dict[Any, Any]) -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_ndarray_column("x", (2,), "float32").update(samples))
    x = repo.checkout()["x"]
    ordered = model.in_key_order(samples)
    assert list(x) == ordered
    for place, key in enumerate(ordered):
        assert is_equal(x[key], samples[key])
        assert x.keys()[place] == key
        assert is_equal(x.read([place])[0], samples[key])


def test_opening_and_reading_one_sample_reads_few_objects() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_ndarray_column("x", (), "int64").extend(np.arange(200_000)))
    repo.objects.get_count = 0
    co = repo.checkout()
    assert repo.objects.get_count <= 3
    assert co["x"][123_456] == 123_456
    assert repo.objects.get_count <= 3 + 4


def test_a_scan_of_inline_values_reads_each_leaf_once() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_ndarray_column("x", (), "int64").extend(np.arange(50_000)))
    co = repo.checkout()
    repo.objects.get_count = 0
    assert co["x"][:].tolist() == list(range(50_000))
    scanned = repo.objects.get_count
    assert co["x"].read(np.arange(50_000)[::-1])[0] == 49_999
    assert repo.objects.get_count <= 2 * scanned
    before = repo.objects.get_count
    assert co["x"].read([1, 2]).tolist() == [1, 2]
    assert repo.objects.get_count == before
