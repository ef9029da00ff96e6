"""What stands between the brackets of ``column[...]``: one key, many keys, or positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError, InvalidKeyError, SampleNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.keys import Key, Keys

SHOWN_KEYS = 5


def is_many(selection: object) -> bool:
    """Tell whether a selection asks for many keys: a list, an array of one axis, or a range."""
    return isinstance(selection, (list, range)) or (
        isinstance(selection, np.ndarray) and selection.ndim == 1
    )


def check_key_list(selection: Any) -> Sequence[object] | NDArray[Any]:
    """Return a selection of many keys, or raise when it is a mask.

    Raises
    ------
    InvalidKeyError
        An array of bools or floats, which names no keys.
    """
    if isinstance(selection, np.ndarray):
        if selection.dtype.kind in "iuOUT":
            return (
                selection if selection.dtype.kind in "iu" else list(map(_plain, selection.tolist()))
            )
        if not len(selection):
            return []
        raise InvalidKeyError(
            f"an array of {selection.dtype} names no keys; "
            "for a mask use column.read(numpy.flatnonzero(mask))"
        )
    listed: Sequence[object] = selection
    return listed


def _plain(key: object) -> object:
    return str(key) if isinstance(key, str) else key


def slice_positions(selection: slice, count: int) -> range:
    """Return the positions of a slice over `count` samples, as numpy does."""
    for bound in (selection.start, selection.stop, selection.step):
        if bound is not None and not isinstance(bound, (int, np.integer)):
            raise InvalidInputError(
                f"a slice goes by position; {bound!r} is no int. For keys pass a list of them"
            )
    if selection.step == 0:
        raise InvalidInputError("a slice step cannot be zero")
    return range(*selection.indices(count))


def not_found(column: str, keys: Sequence[object]) -> SampleNotFoundError:
    """Return the error for keys that a column does not have."""
    shown = ", ".join(repr(key)[:80] for key in keys[:SHOWN_KEYS])
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    plural = "s" if len(keys) > 1 else ""
    return SampleNotFoundError(f"column {column!r} has no sample{plural} {shown}{more}")


def keys_in_order(keys: Keys, places: NDArray[np.intp], wanted: NDArray[np.bool_]) -> list[Key]:
    """Return the user's spelling of the `wanted` ones of collected keys, in the order given."""
    spelled = keys.to_list()
    order = np.argsort(places, kind="stable")
    return [spelled[at] for at in order.tolist() if wanted[at]]
