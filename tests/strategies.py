"""Hypothesis strategies: dtypes, shapes, arrays, keys, histories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from tensorvcs.objects.dtype import DTYPE_NAMES, dtype_from_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES = st.sampled_from(DTYPE_NAMES)

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)

TEXT_KEYS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6
)
"""Legal text keys: any code points but NUL and surrogates."""

INT_KEYS = st.one_of(st.integers(-3, 40), st.integers(-(2**63), 2**63 - 1))

KEYS = st.one_of(INT_KEYS, TEXT_KEYS)

FEW_KEYS = st.one_of(st.integers(-2, 6), st.sampled_from(["a", "b", "b/1", "é", "\U0001f600"]))
"""So few that two draws often meet."""


@st.composite
def arrays(
    draw: st.DrawFn,
    dtype: str | None = None,
    shape: tuple[int, ...] | None = None,
) -> NDArray[Any]:
    """An array with any bits at all, NaN payloads and -0.0 among them."""
    name = draw(DTYPES) if dtype is None else dtype
    extents = draw(SHAPES) if shape is None else shape
    kind = dtype_from_name(name)
    count = int(np.prod(extents, dtype=np.int64))
    content = draw(st.binary(min_size=count * kind.itemsize, max_size=count * kind.itemsize))
    if name == "bool":
        content = bytes(byte & 1 for byte in content)
    return np.frombuffer(content, kind).reshape(extents).copy()


@st.composite
def histories(draw: st.DrawFn, max_commits: int = 12) -> list[tuple[int, ...]]:
    """The parents of each commit by number; a parent comes before its children."""
    count = draw(st.integers(1, max_commits))
    parents: list[tuple[int, ...]] = [()]
    for at in range(1, count):
        chosen = draw(st.lists(st.integers(0, at - 1), max_size=3, unique=True))
        parents.append(tuple(chosen))
    return parents
