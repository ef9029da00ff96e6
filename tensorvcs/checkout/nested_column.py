"""Nested columns: sample key to subsample key to value, as composite keys in one tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.checkout.column import KeyedColumn, check_positions
from tensorvcs.checkout.selection import not_found
from tensorvcs.display.html import column_html
from tensorvcs.errors import InvalidKeyError, ObjectNotFoundError
from tensorvcs.objects.keys import (
    EMPTY_INTS,
    EMPTY_TEXTS,
    Key,
    Keys,
    check_key,
    composite_key,
    composite_prefix,
    split_composite,
)
from tensorvcs.tree import cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.checkout.column import ColumnReader, Values


class Subsamples(Mapping[Key, Any]):
    """The subsamples of one sample, in key order: ints, then texts."""

    def __init__(self, column: NestedColumn, sample: Key) -> None:
        self._column = column
        self._sample = sample

    def _span(self) -> tuple[int, int]:
        return self._column._span(self._sample)

    def __len__(self) -> int:
        start, stop = self._span()
        return stop - start

    def __iter__(self) -> Iterator[Key]:
        start, stop = self._span()
        reader = self._column._reader
        for _, subsample in cursor.keys_at(reader.nodes, reader.state.tree, start, stop).to_pairs():
            yield subsample

    def __contains__(self, key: object) -> bool:
        try:
            return self._column._get(self._sample, key) is not None
        except InvalidKeyError:
            return False

    def __getitem__(self, key: Key) -> Any:
        value = self._column._get(self._sample, key)
        if value is None:
            raise not_found(self._column.name, [(self._sample, key)])
        return value

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def read(self) -> Values:
        """Return all values in key order: stacked, or a list where shapes vary."""
        start, stop = self._span()
        reader = self._column._reader
        return reader.stack(cursor.values_at(reader.nodes, reader.state.tree, start, stop))

    def __repr__(self) -> str:
        return f"<{len(self)} subsamples of {self._sample!r} in column {self._column.name!r}>"


class NestedColumn(KeyedColumn):
    """A mapping from sample key to a mapping from subsample key to value.

    A sample exists while it has a subsample. ``len`` and iteration are over samples; the first
    ``len`` scans the keys.
    """

    def __init__(self, name: str, reader: ColumnReader) -> None:
        super().__init__(name, reader)
        self._samples: tuple[object, list[Key], NDArray[np.int64]] | None = None

    @property
    def subsample_count(self) -> int:
        """The number of values, over all samples."""
        return self._reader.count

    def __len__(self) -> int:
        return len(self.sample_keys())

    def sample_keys(self) -> list[Key]:
        """Return the keys of the samples in order; scanned once a version."""
        return self._spans()[0]

    def _spans(self) -> tuple[list[Key], NDArray[np.int64]]:
        """Return the samples, and where the subsamples of each begin, shape (n + 1,)."""
        tree = self._reader.state.tree
        if self._samples is None or self._samples[0] != tree:
            found = list(self._iter_starts())
            starts = np.array([*(start for _, start in found), tree.count], np.int64)
            self._samples = (tree, [sample for sample, _ in found], starts)
        return self._samples[1:]

    def __iter__(self) -> Iterator[Key]:
        return (sample for sample, _ in self._iter_starts())

    def _iter_starts(self) -> Iterator[tuple[Key, int]]:
        """Yield each sample and the position of its first subsample."""
        last: bytes | None = None
        reader, at = self._reader, 0
        for keys, _ in cursor.iter_blocks(reader.nodes, reader.state.tree):
            for text in keys.texts.tolist():
                if last is None or not text.startswith(last):
                    sample = split_composite(text)[0]
                    last = composite_prefix(sample)
                    yield sample, at
                at += 1

    def __contains__(self, key: object) -> bool:
        try:
            start, stop = self._span(check_key(key))
        except InvalidKeyError:
            return False
        return stop > start

    def __getitem__(self, key: Key) -> Subsamples:
        sample = check_key(key)
        if sample not in self:
            raise not_found(self._name, [sample])
        return Subsamples(self, sample)

    def has_same_keys(self, other: Mapping[Key, Any]) -> bool:
        """Tell whether another column has exactly the same sample keys; scans the keys."""
        return len(self) == len(other) and list(self) == list(other)

    def positions(self, keys: Sequence[Key]) -> NDArray[np.int64]:
        """Return the position of each sample; raise SampleNotFoundError when one is not there."""
        order = {key: at for at, key in enumerate(self)}
        absent = [key for key in keys if key not in order]
        if absent:
            raise not_found(self._name, absent)
        return np.array([order[key] for key in keys], np.int64)

    def read(self, positions: Any) -> list[dict[Key, Any]]:
        """Read many samples by position, with all their subsamples.

        Parameters
        ----------
        positions : sequence or ndarray of int, shape (n,)
            Places among `sample_keys`, from 0; negative ones count from the end; repeats allowed.

        Returns
        -------
        list of dict
            For each sample its values by subsample key, in key order. Arrays of a fixed shape are
            writable views of one array that this call made.

        Raises
        ------
        IndexError
            A position is outside the column.
        InvalidInputError
            Positions that are no ints.
        CorruptionError
            Bytes on disk are not what was stored.

        Notes
        -----
        The first call scans the keys. After that the keys of all samples are one batch of reads
        from the tree, and their values one gather.
        """
        where, counts = self._subsamples_of(positions)
        reader = self._reader
        distinct, at = np.unique(where, return_inverse=True)
        keys, stored = cursor.select(reader.nodes, reader.state.tree, distinct)
        values: Any
        if reader.is_table_due(len(where)):
            values = reader.read(where, None)
        else:
            values = reader.stack(stored[at])
        if isinstance(values, np.ndarray):
            # With an ellipsis a scalar stays an array.
            values = [values[number, ...] for number in range(len(values))]
        names = [split_composite(text)[1] for text in keys.texts.tolist()]
        pairs = zip((names[number] for number in at.tolist()), values, strict=True)
        return [dict(islice(pairs, count)) for count in counts.tolist()]

    def fetch(self, positions: Any) -> int:
        """Bring the subsamples of samples before they are read, in one request.

        `positions` are places among `sample_keys`; see `Column.fetch`.
        """
        if self._reader.schema.is_inline:
            return 0
        return self._reader.fetch(self._subsamples_of(positions)[0])

    def _subsamples_of(self, positions: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the positions of the subsamples of some samples, and how many each sample has."""
        where = check_positions(positions)
        starts = self._spans()[1]
        count = len(starts) - 1
        outside = (where < -count) | (where >= count)
        if outside.any():
            raise IndexError(
                f"position {int(where[outside][0])} is outside column {self.name!r} "
                f"of {count} samples"
            )
        where = np.where(where < 0, where + count, where).astype(np.intp)
        counts = starts[where + 1] - starts[where]
        before = np.cumsum(counts) - counts
        return np.repeat(starts[where] - before, counts) + np.arange(counts.sum()), counts

    def _digests_of(self, keys: Sequence[Key] | None) -> NDArray[np.uint8]:
        reader = self._reader
        if keys is None or reader.schema.is_inline or not len(keys):
            return reader.digests_of(None if keys is None else Keys(EMPTY_INTS, EMPTY_TEXTS))
        spans = [self._span(check_key(key)) for key in keys]
        return np.concatenate(
            [cursor.values_at(reader.nodes, reader.state.tree, *span) for span in spans]
        )

    def _span(self, sample: Key) -> tuple[int, int]:
        reader = self._reader
        return cursor.prefix_range(reader.nodes, reader.state.tree, composite_prefix(sample))

    def _get(self, sample: Key, subsample: object) -> Any:
        return self._reader.get_one(composite_key(sample, subsample))

    def __repr__(self) -> str:
        return (
            f"<NestedColumn {self._name!r}: {self._count_text()} samples with "
            f"{self.subsample_count} subsamples × {self.schema.spelling}>"
        )

    def _count_text(self) -> str:
        """Return the number of samples, as far as a partial clone knows it."""
        try:
            return str(len(self))
        except ObjectNotFoundError:
            return "?"

    def _repr_html_(self) -> str:
        reader = self._reader
        count = min(8, self.subsample_count)
        keys: list[tuple[Key, Key]] = []
        values: Values = []
        with suppress(ObjectNotFoundError):
            keys = cursor.keys_at(reader.nodes, reader.state.tree, 0, count).to_pairs()
            values = ["not here"] * count
            values = reader.stack(cursor.values_at(reader.nodes, reader.state.tree, 0, count))
        return column_html(self._name, self._count_text(), self.schema.spelling, keys, values)
