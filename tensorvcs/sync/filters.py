"""Which columns, and which samples of them, a partial clone takes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import ColumnNotFoundError, InvalidInputError, with_hint
from tensorvcs.history.stored_values import inline_rows
from tensorvcs.objects.key_patterns import KeyPatterns
from tensorvcs.objects.keys import Keys
from tensorvcs.objects.schema import check_column_name
from tensorvcs.tree import cursor
from tensorvcs.tree.boundary import hash_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import Columns, ColumnState
    from tensorvcs.tree.nodes import Nodes

_STRATIFIED = "stratified:"
_SAMPLES_A_BATCH = 4096


@dataclass(frozen=True)
class Filter:
    """What a partial clone takes of every version.

    Attributes
    ----------
    columns : tuple of str, or None
        Only the trees and values of these columns; None for all.
    keys : tuple of str, or None
        Only the values of samples whose key fits one of these patterns; see `KeyPatterns`. The
        trees come whole, so that keys, diffs, blame and merges are those of a full clone.
    max_bytes : int or None
        Of the values of the cloned version, at most about so many bytes as they are stored.
    sample : str
        Which samples come first under `max_bytes`: ``first`` in key order, ``random``, or
        ``stratified:COLUMN``, random with each value of that column in its share.
    seed : int
        Of ``random`` and ``stratified``: the same seed takes the same samples everywhere.
    depth : int or None
        Only the trees and values of the newest commits of each branch that is fetched: those that
        fewer than so many steps from child to parent lead to. Of all older ones, and of those
        that only a tag reaches, the commits come with their lists of columns, which hold the
        schemas, counts and digests.
    """

    columns: tuple[str, ...] | None = None
    keys: tuple[str, ...] | None = None
    max_bytes: int | None = None
    sample: str = "first"
    seed: int = 0
    depth: int | None = None

    def __post_init__(self) -> None:
        for column in self.columns or ():
            check_column_name(column)
        if self.columns is not None and not self.columns:
            raise InvalidInputError("a list of columns is empty; name a column, or leave it out")
        if self.keys is not None:
            KeyPatterns.of(self.keys)
        if self.max_bytes is not None and (type(self.max_bytes) is not int or self.max_bytes < 0):
            raise InvalidInputError(f"max_bytes is {self.max_bytes!r}; expected 0 or more bytes")
        if self.sample not in ("first", "random") and not re.fullmatch(
            f"{_STRATIFIED}.+", self.sample
        ):
            raise InvalidInputError(
                f"sample is {self.sample!r}; expected 'first', 'random' or 'stratified:COLUMN'"
            )
        if self.sample != "first" and self.max_bytes is None:
            raise with_hint(
                InvalidInputError(f"sample is {self.sample!r}, and nothing says of how many bytes"),
                "give max_bytes as well (--max-bytes 200MB)",
            )
        if type(self.seed) is not int or not 0 <= self.seed < 2**64:
            raise InvalidInputError(f"seed is {self.seed!r}; expected 0 or more, in 64 bits")
        if self.depth is not None and (type(self.depth) is not int or self.depth < 1):
            raise InvalidInputError(f"depth is {self.depth!r}; expected 1 or more commits")

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Filter(seed=self.seed)

    @cached_property
    def _patterns(self) -> KeyPatterns | None:
        return None if self.keys is None else KeyPatterns.of(self.keys)

    def to_text(self) -> str:
        """Return what `from_text` reads, for the settings of a repository."""
        fields = asdict(self)
        if self.depth is None:
            del fields["depth"]  # which older versions do not know
        return json.dumps(fields, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Filter:
        """Read what `to_text` wrote; raise InvalidInputError when it is something else."""
        try:
            fields = json.loads(text)
            for name in ("columns", "keys"):
                fields[name] = None if fields[name] is None else tuple(fields[name])
            return cls(**fields)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InvalidInputError(f"the filter of a remote cannot be read: {error}") from error

    # What a transfer asks

    def takes_column(self, column: str) -> bool:
        """Tell whether the tree of a column is taken."""
        return self.columns is None or column in self.columns

    def choose(self, column: str, keys: Keys, *, nested: bool) -> NDArray[np.bool_] | None:
        """Tell which values of a leaf are taken; none when they are taken by a budget, later."""
        if self.max_bytes is not None or not self.takes_column(column):
            return np.zeros(len(keys), np.bool_)
        if self._patterns is None:
            return None
        return self._patterns.match(keys, nested=nested)

    def check_columns(self, columns: Columns) -> None:
        """Raise ColumnNotFoundError for a column of the filter that a version has not."""
        for name in self.columns or ():
            if name not in columns:
                raise _no_column(name, columns)

    # What a budget is spent on

    def values_in_order(self, nodes: Nodes, columns: Columns) -> Iterator[NDArray[np.uint8]]:
        """Yield the values of a version in the order in which a budget is spent on them.

        A sample comes with its values in all columns, before the next one.

        Yields
        ------
        ndarray, shape (n, 32), uint8
            Digests; inline values are in the trees.

        Raises
        ------
        ColumnNotFoundError
            A column of the filter is not there.

        Notes
        -----
        Holds 40 bytes a sample of each column.
        """
        chosen = {
            name: state
            for name, state in columns.items()
            if self.takes_column(name) and not state.schema.is_inline and state.tree.count
        }
        self.check_columns(columns)
        ranks: list[NDArray[np.float64]] = []
        digests: list[NDArray[np.uint8]] = []
        strata = self._strata(nodes, columns)
        for name in sorted(chosen):
            state = chosen[name]
            keys, values = cursor.items_at(nodes, state.tree, 0, state.tree.count)
            rank = self._ranks(keys, state, strata)
            if self._patterns is not None:
                is_taken = self._patterns.match(keys, nested=state.schema.nested)
                rank, values = rank[is_taken], values[is_taken]
            ranks.append(rank)
            digests.append(values)
        if not ranks:
            return
        order = np.argsort(np.concatenate(ranks), kind="stable")
        joined = np.concatenate(digests)
        for low in range(0, len(order), _SAMPLES_A_BATCH):
            yield joined[order[low : low + _SAMPLES_A_BATCH]]

    def _ranks(
        self, keys: Keys, state: ColumnState, strata: tuple[Keys, NDArray[np.float64]] | None
    ) -> NDArray[np.float64]:
        """Return a number for each key of a column; the smallest comes first."""
        if self.sample == "first":
            return np.arange(len(keys), dtype=np.float64)
        names = _sample_keys(keys, nested=state.schema.nested)
        shuffled = self._shuffled(names)
        if strata is None:
            return shuffled
        known, shares = strata
        # A sample that has no label comes after all that have one.
        rank = 1.0 + shuffled
        for part, labelled, values, base in (
            (names.ints, known.ints, shares[: len(known.ints)], 0),
            (names.texts, known.texts, shares[len(known.ints) :], len(names.ints)),
        ):
            if len(part) and len(labelled):
                at = np.minimum(np.searchsorted(labelled, part), len(labelled) - 1)
                is_there = labelled[at] == part
                rank[base + np.flatnonzero(is_there)] = values[at[is_there]]
        return rank

    def _shuffled(self, keys: Keys) -> NDArray[np.float64]:
        """Return a number from 0 up to 1 for each key, from the key and the seed alone."""
        hashes = np.concatenate([hash_keys(keys.ints), hash_keys(keys.texts)])
        return (_mixed(hashes ^ _mixed(np.array([self.seed], np.uint64))) >> np.uint64(11)) / 2**53

    def _strata(self, nodes: Nodes, columns: Columns) -> tuple[Keys, NDArray[np.float64]] | None:
        """Return the keys of the label column, and how far through its stratum each one is."""
        if not self.sample.startswith(_STRATIFIED):
            return None
        name = self.sample.removeprefix(_STRATIFIED)
        if name not in columns:
            raise _no_column(name, columns)
        state = columns[name]
        keys, values = cursor.items_at(nodes, state.tree, 0, state.tree.count)
        if state.schema.nested:
            raise InvalidInputError(f"column {name!r} is nested and cannot be stratified by")
        stratum = _strata_of(state, values)
        order = np.lexsort((self._shuffled(keys), stratum))
        ordered = stratum[order]
        starts = np.searchsorted(ordered, ordered)
        sizes = np.bincount(stratum)[ordered] if len(ordered) else np.zeros(0, np.int64)
        shares = np.empty(len(keys), np.float64)
        shares[order] = (np.arange(len(order)) - starts + 0.5) / sizes
        return keys, shares


def _strata_of(state: ColumnState, values: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return the number of the label of each sample."""
    rows: NDArray[Any] = values
    if state.schema.is_inline and not state.schema.fixed_shape:
        rows = inline_rows(state.schema, values)
        if rows.dtype.kind in "biu":
            return np.unique(rows, return_inverse=True)[1]
    named = np.ascontiguousarray(values).view(f"V{max(1, values.shape[1])}").reshape(-1)
    return np.unique(named, return_inverse=True)[1]


def _sample_keys(keys: Keys, *, nested: bool) -> Keys:
    """Return for each key one that stands for its sample, so that subsamples stay together."""
    if not nested:
        return keys
    # The spelling is only compared and hashed, so any that is the same for one sample will do.
    names = [repr(sample).encode() for sample, _ in keys.to_pairs()]
    return Keys(keys.ints, np.array(names) if names else keys.texts)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the finaliser of SplitMix64 over numbers: every bit depends on every bit."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _no_column(name: str, columns: Columns) -> ColumnNotFoundError:
    known = ", ".join(sorted(columns)) or "none"
    return ColumnNotFoundError(f"the version to clone has no column {name!r}; there are: {known}")
