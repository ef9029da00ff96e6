"""Which samples were chosen, as a record of bounded length."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from tensorvcs.errors import InvalidInputError
from tensorvcs.torch.chosen import (
    SplitPart,
    read_positions,
    spell_positions,
)


@given(st.lists(st.integers(0, 299)), st.booleans())
def test_positions_come_back(places: list[int], in_order: bool) -> None:
    chosen = np.array(sorted(set(places)) if in_order else places, np.int64)
    spelled = json.loads(json.dumps(spell_positions(chosen, 300)))
    assert spelled["count"] == len(chosen)
    found = read_positions(spelled, 300)
    assert found is not None
    assert found.tolist() == chosen.tolist()


def test_how_long_a_record_is() -> None:
    rng = np.random.default_rng(0)
    total = 1_000_000
    half = np.flatnonzero(rng.random(total) < 0.5)
    assert len(spell_positions(half, total)["mask"]) < total / 8 * 4 / 3 + 1000
    assert len(spell_positions(np.arange(10, 900_000), total)["mask"]) < 1000
    assert len(spell_positions(np.sort(rng.permutation(total)[:1000]), total)["steps"]) < 4000
    assert len(spell_positions(np.arange(total)[::-1], total)["steps"]) < 20_000
    assert spell_positions(rng.permutation(total), total) == {"count": total}
    assert spell_positions(half, total, max_nbytes=100_000) == {"count": len(half)}
    assert read_positions({"count": total}, total) is None


@pytest.mark.parametrize(
    "damaged",
    [{"mask": "AA"}, {"mask": 3}, {"mask": spell_positions(np.arange(50), 60)["mask"]}],
)
def test_what_cannot_be_read(damaged: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_positions(damaged, 100)
    spelled = spell_positions(np.array([7, 90, 3]), 100)
    with pytest.raises(InvalidInputError, match="outside of the 50"):
        read_positions(spelled, 50)


def test_a_split_keeps_the_order_of_its_shares() -> None:
    part = SplitPart((("z", 1.0), ("a", 2.0)), 5, ("y",), "a")
    assert SplitPart.from_dict(json.loads(json.dumps(part.to_dict(), sort_keys=True))) == part
