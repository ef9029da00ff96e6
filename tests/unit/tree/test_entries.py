from __future__ import annotations

import numpy as np
import pytest

from tensorvcs.tree import entries as entries_module
from tensorvcs.tree.entries import find_keys, join_keys, join_values, rows_equal, run_batches

SHORT, LONG = np.array([b"a", b"b"]), np.array([b"cccc"])


def test_texts_join_to_one_padded_array() -> None:
    assert join_keys([SHORT, LONG], is_text=True).tolist() == [b"a", b"b", b"cccc"]
    assert join_keys([], is_text=True).dtype == np.dtype("S1")
    assert join_keys([], is_text=False).dtype == np.int64


def test_texts_join_to_objects_where_padding_would_take_much_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entries_module, "_PADDED_LIMIT_NBYTES", 8)
    joined = join_keys([SHORT, LONG], is_text=True)
    assert joined.dtype == object
    assert joined.tolist() == [b"a", b"b", b"cccc"]


@pytest.mark.parametrize("kind", [object, "S4"])
def test_keys_are_found_in_either_array(kind: str | type) -> None:
    keys = np.array([b"b", b"dddd"], kind)
    for wanted in (np.array([b"a", b"b", b"c", b"dddd", b"e"], like) for like in (object, "S5")):
        at, found = find_keys(keys, wanted)
        assert at.tolist() == [0, 0, 1, 1, 2]
        assert found.tolist() == [False, True, False, True, False]
    at, found = find_keys(keys[:0], keys)
    assert at.tolist() == [0, 0] and not found.any()


def test_values_join_and_compare_by_row() -> None:
    left = np.array([[1, 2], [3, 4]], np.uint8)
    right = np.array([[1, 2], [3, 5]], np.uint8)
    assert rows_equal(left, right).tolist() == [True, False]
    assert rows_equal(left[:, :0], right[:, :0]).tolist() == [True, True]
    assert join_values([left, right], 2).shape == (4, 2)
    assert join_values([], 2).shape == (0, 2)


def test_batches_end_with_a_run() -> None:
    counts = np.array([4, 4, 4, 4, 4, 4])
    ends = np.array([False, True, True, False, False, False])
    assert list(run_batches(counts, ends, 5)) == [(0, 2), (2, 6)]
    assert list(run_batches(counts, ends, 1)) == [(0, 2), (2, 3), (3, 6)]
    assert list(run_batches(counts, ~ends | ends, 100)) == [(0, 6)]
    assert list(run_batches(counts[:0], ends[:0], 5)) == []
