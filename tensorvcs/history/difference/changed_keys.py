"""The keys of changed samples, as a user spells them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tensorvcs.objects.keys import EMPTY_INTS, EMPTY_TEXTS, Keys

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ChangedKeys(Sequence[Any]):
    """Keys in order, ints before texts; pairs (sample, subsample) for a nested column."""

    def __init__(self, keys: Keys, *, nested: bool) -> None:
        self._keys = keys
        self._nested = nested

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(f"place {place} is outside {len(self)} keys")
        at = np.array([place % len(self)])
        return spell(self.tree_keys(at), nested=self._nested)[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(spell(self._keys, nested=self._nested))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence) and not isinstance(other, str):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:6]))
        return f"[{shown}{', …' if len(self) > 6 else ''}]"

    def first(self, count: int) -> ChangedKeys:
        """Return the first keys; shares their memory."""
        ints = self._keys.ints[:count]
        return ChangedKeys(
            Keys(ints, self._keys.texts[: max(0, count - len(ints))]), nested=self._nested
        )

    def tree_keys(self, places: NDArray[np.intp]) -> Keys:
        """Return the keys at places as a tree has them: the ints, then the texts."""
        split = len(self._keys.ints)
        ints, texts = places[places < split], places[places >= split] - split
        return Keys(self._keys.ints[ints], self._keys.texts[texts])


def spell(keys: Keys, *, nested: bool) -> list[Any]:
    """Return tree keys as a user has them: ints, texts, or pairs in a nested column."""
    return keys.to_pairs() if nested else keys.to_list()


def no_keys() -> Keys:
    """Return no keys."""
    return Keys(EMPTY_INTS, EMPTY_TEXTS)
