"""Where many values are, loose and packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.errors import (
    ObjectNotFoundError,
)
from tensorvcs.objects.digest import digests_to_array
from tests.tensor_values import (
    BLOBS,
    open_store,
    put,
    table_of,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_many_values_are_looked_up_among_many_loose_ones(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    blobs = [bytes([i % 256, i // 256]) for i in range(1000)]
    digests = put(store, BLOBS, blobs)
    absent = digests_to_array([bytes(32)] * 3)
    assert store.contains(np.concatenate([digests, absent])).tolist() == [True] * 1000 + [False] * 3
    assert store.read(BLOBS, digests) == blobs
    with pytest.raises(ObjectNotFoundError, match="and 2 others are"):
        store.sizes(np.concatenate([digests, absent]))
    table = table_of(store, BLOBS, np.concatenate([digests, absent]))
    assert table.read_list(np.arange(1000)) == blobs
    with pytest.raises(ObjectNotFoundError):
        table.read_list(np.array([3, 1000]))
