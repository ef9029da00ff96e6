"""Arguments of loaders: what is taken, and what is told of the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from tensorvcs.errors import InvalidInputError
from tensorvcs.torch import Pad
from tensorvcs.torch.arguments import as_count, check_functions, check_seconds
from tensorvcs.torch.transforms import Transforms


def test_whole_numbers_are_plain() -> None:
    assert type(as_count("seed", np.int64(-3))) is int
    assert as_count("batch_size", 1, 1) == 1


@pytest.mark.parametrize("value", [True, 1.0, "1", None, np.float32(1), [1]])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="seed is a whole number, not"):
        as_count("seed", value)


def test_what_is_too_small() -> None:
    with pytest.raises(InvalidInputError, match="threads is at least 0, not -1"):
        as_count("threads", -1, 0)


def test_seconds() -> None:
    for good in (1, 0.5, np.float32(2)):
        check_seconds("timeout", good)
    for wrong in (0, -1, float("nan"), "1", True):
        with pytest.raises(InvalidInputError, match="timeout is a number of seconds"):
            check_seconds("timeout", wrong)


def test_functions() -> None:
    for good in (None, abs, {"a": abs}, {}):
        check_functions("transform", good)
    with pytest.raises(InvalidInputError, match="transform is a function, or one for each column"):
        check_functions("transform", 3)
    with pytest.raises(InvalidInputError, match="of column 'a' is a function"):
        check_functions("transform", {"a": None})
    for given in (Pad, {"a": Pad}):
        with pytest.raises(InvalidInputError, match=r"collate is Pad\(\) or the like"):
            Transforms(collate=given).check(["a"])  # type: ignore[arg-type]
