"""Values of several shapes in one batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tensorvcs.errors import InvalidInputError  # noqa: E402
from tensorvcs.torch.collate import AsList, Pad, Ragged, Stack, joined  # noqa: E402

VALUES = [np.arange(n * 2, dtype="f4").reshape(n, 2) for n in (3, 0, 1)]


def test_padding() -> None:
    found = Pad(value=-1)(VALUES)
    assert found.values.shape == found.mask.shape == (3, 3, 2)
    assert found.values.dtype == torch.float32
    for place, value in enumerate(VALUES):
        assert np.array_equal(found.values[place][found.mask[place]].numpy(), value.reshape(-1))
    assert (found.values[~found.mask] == -1).all()
    assert Pad(to=5, mask=False)(VALUES).shape == (3, 5, 2)
    assert Pad(to=(4, 6), mask=False)(VALUES).shape == (3, 4, 6)
    assert Pad(multiple_of=8, mask=False)(VALUES).shape == (3, 8, 2)
    assert Pad(mask=False)([torch.tensor(1), torch.tensor(2)]).tolist() == [1, 2]
    assert len(Pad()([]).values) == 0
    wrong: list[tuple[Pad, Any]] = [
        (Pad(to=2), VALUES),
        (Pad(), [np.zeros(2), np.zeros((2, 2))]),
        (Pad(), ["a"]),
        (Pad(to=(9, 9, 9)), VALUES),
    ]
    for pad, values in wrong:
        with pytest.raises(InvalidInputError):
            pad(values)


def test_ragged_batches() -> None:
    found = Ragged()(VALUES)
    assert found.offsets.tolist() == [0, 3, 3, 4]
    assert found.values.tolist() == np.concatenate(VALUES).tolist()
    assert [len(part) for part in found.nested().unbind()] == [3, 0, 1]
    assert Ragged()([]).offsets.tolist() == [0]
    with pytest.raises(InvalidInputError, match="first extent"):
        Ragged()([np.zeros((2, 3)), np.zeros((2, 4))])


def test_what_cannot_be_padded_or_put_behind_each_other() -> None:
    with pytest.raises(InvalidInputError, match="scalar"):
        Ragged()([np.zeros((), np.float32)])
    options: Any
    for options in ({"multiple_of": 0}, {"to": -3}, {"to": (2, 1.5)}):
        with pytest.raises(InvalidInputError):
            Pad(**options)


def test_stacks_and_lists() -> None:
    assert Stack()([np.zeros(3), np.ones(3)]).shape == (2, 3)
    with pytest.raises(InvalidInputError, match="several shapes") as found:
        Stack()([np.zeros(3), np.ones(4)])
    assert "Pad" in (found.value.hint or "")
    assert AsList()((1, 2)) == [1, 2]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([np.zeros((2, 3))[:, ::-1], np.zeros((2, 3))], (2, 2, 3)),
        ([1, 2], (2,)),
        ([True, False], (2,)),
    ],
)
def test_what_transforms_made_is_stacked_where_it_can_be(values: Any, expected: Any) -> None:
    assert joined(values).shape == expected


@pytest.mark.parametrize("values", [[], ["a", "b"], [np.zeros(2), np.zeros(3)], [1, "a"], [None]])
def test_what_cannot_be_stacked_stays_a_list(values: Any) -> None:
    assert isinstance(joined(values), list)
    assert len(joined(values)) == len(values)
