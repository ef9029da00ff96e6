"""Patterns that pick samples by their keys, as a person types them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Union

import numpy as np

from tensorvcs.errors import InvalidInputError
from tensorvcs.objects.keys import check_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.objects.keys import Keys

KeyPattern = Union[int, str]
_RANGE = re.compile(r"(-?[0-9]{1,19})?:(-?[0-9]{1,19})?")
_NUMBER = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class KeyPatterns:
    """Several patterns; a key that fits one of them is picked.

    A number is an int key. A text is a shell pattern for text keys, in which ``*`` also stands
    for ``/``; the pattern ``*`` alone picks every key. A text of digits picks the int key too, and
    ``a:b`` the int keys from a up to but without b, where either end may be left out. Of a nested
    column the key is that of the sample.

    Attributes
    ----------
    patterns : tuple of str or int
        As they were given.
    ranges : tuple of pairs
        The first and the last int key of each range.
    texts : pattern
        What a text key has to match as a whole.
    has_all : bool
        Whether every key is picked.
    """

    patterns: tuple[KeyPattern, ...]
    ranges: tuple[tuple[int, int], ...]
    texts: re.Pattern[str]
    has_all: bool

    @classmethod
    def of(cls, patterns: KeyPattern | Iterable[KeyPattern]) -> KeyPatterns:
        """Read one pattern or several.

        Raises
        ------
        InvalidInputError
            There is none, or one is an empty text, or neither a number nor a text.
        """
        if isinstance(patterns, str) or not isinstance(patterns, Iterable):
            listed: tuple[KeyPattern, ...] = (patterns,)
        else:
            listed = tuple(patterns)
        if not listed:
            raise InvalidInputError("a list of key patterns is empty; give a key, or '*' for all")
        ranges: list[tuple[int, int]] = []
        globs: list[str] = []
        for pattern in listed:
            if not isinstance(pattern, str):
                number = check_key(pattern)
                assert isinstance(number, int)
                ranges.append((number, number))
                continue
            if not pattern:
                raise InvalidInputError("a key pattern is empty; give a key, or '*' for all")
            globs.append(pattern)
            ranges += _ranges_of(pattern)
        expression = "|".join(map(translate, globs)) if globs else r"(?!)"
        return cls(listed, tuple(ranges), re.compile(expression), "*" in globs)

    def __str__(self) -> str:
        return ", ".join(map(str, self.patterns))

    def match(self, keys: Keys, *, nested: bool) -> NDArray[np.bool_]:
        """Tell which tree keys are picked: shape (n,), ints first.

        Notes
        -----
        Int keys are compared as arrays; of each text key the pattern is tried once.
        """
        if self.has_all:
            return np.ones(len(keys), np.bool_)
        if nested:
            return self._match_samples([sample for sample, _ in keys.to_pairs()])
        fits = self.texts.match
        texts = [fits(text.decode()) is not None for text in keys.texts.tolist()]
        return np.concatenate([self._match_ints(keys.ints), np.array(texts, np.bool_)])

    def _match_samples(self, samples: list[int | str]) -> NDArray[np.bool_]:
        picked = np.zeros(len(samples), np.bool_)
        is_int = np.array([isinstance(sample, int) for sample in samples], np.bool_)
        numbers = np.array([sample for sample in samples if isinstance(sample, int)], np.int64)
        picked[is_int] = self._match_ints(numbers)
        fits = self.texts.match
        picked[~is_int] = [fits(s) is not None for s in samples if isinstance(s, str)]
        return picked

    def _match_ints(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        picked = np.zeros(len(numbers), np.bool_)
        for first, last in self.ranges:
            picked |= (numbers >= first) & (numbers <= last)
        return picked


def _ranges_of(pattern: str) -> list[tuple[int, int]]:
    """Return the range of int keys that a text stands for, if it does."""
    lowest, highest = -(2**63), 2**63 - 1
    first, last = lowest, highest
    if _NUMBER.fullmatch(pattern):
        first = last = int(pattern)
    elif found := _RANGE.fullmatch(pattern):
        first = lowest if found[1] is None else int(found[1])
        last = highest if found[2] is None else int(found[2]) - 1
    else:
        return []
    first, last = max(first, lowest), min(last, highest)
    return [(first, last)] if first <= last else []
