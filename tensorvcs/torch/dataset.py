"""TensorDataset: a checkout as a map-style dataset that reads whole batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from operator import index as as_int
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torch.utils.data._utils.collate import default_collate_fn_map

from tensorvcs.checkout.nested_column import NestedColumn
from tensorvcs.errors import (
    ColumnNotFoundError,
    CorruptionError,
    InvalidInputError,
    TensorVCSError,
    with_hint,
)
from tensorvcs.torch.arguments import as_count, check_readable
from tensorvcs.torch.buffers import FRESH_MEMORY
from tensorvcs.torch.chosen import MAX_NBYTES, SplitPart, spell_positions, spell_splits
from tensorvcs.torch.convert import to_torch, value_to_torch
from tensorvcs.torch.identity import changed_since, difference, identity_of
from tensorvcs.torch.key_hashes import key_hashes
from tensorvcs.torch.notes import leaving, telling
from tensorvcs.torch.splits import split_places, value_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.checkout.column import Column
    from tensorvcs.checkout.editor import EditableCheckout
    from tensorvcs.checkout.reader import Checkout
    from tensorvcs.history.commit import Commit
    from tensorvcs.objects.keys import Key
    from tensorvcs.objects.schema import Schema
    from tensorvcs.torch.buffers import Memory
    from tensorvcs.torch.chosen import Splits

Sample = Any
_NAMED_KEYS = 3


class TupleSample(tuple[Any, ...]):
    """A sample as a tuple, in the order of the columns."""

    __slots__ = ()


class DictSample(dict[str, Any]):
    """A sample as a dict by column name."""

    __slots__ = ()


class Batch(Sequence[Sample]):
    """Samples of one read: a sequence of samples over columns that are stacked already.

    The default collate function of a DataLoader returns the columns as they are.
    """

    def __init__(self, columns: Mapping[str, Any], count: int, *, as_dict: bool) -> None:
        self._columns = columns
        self._count = count
        self._as_dict = as_dict

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(f"place {place} is outside a batch of {len(self)}")
        values = {name: column[place] for name, column in self._columns.items()}
        return DictSample(values) if self._as_dict else TupleSample(values.values())

    def __iter__(self) -> Iterator[Sample]:
        return (self[at] for at in range(len(self)))

    @property
    def columns(self) -> Any:
        """The columns: a dict by name, or a tuple in order; tensors ``(n, *shape)`` or lists."""
        return dict(self._columns) if self._as_dict else tuple(self._columns.values())

    def pin_memory(self) -> Batch:
        """Return the batch with its tensors in page-locked memory."""
        return self._with(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return the batch with its tensors on a device."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def _with(self, move: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        moved = {
            name: move(column) if isinstance(column, torch.Tensor) else column
            for name, column in self._columns.items()
        }
        return Batch(moved, self._count, as_dict=self._as_dict)

    def __repr__(self) -> str:
        return f"<Batch of {len(self)}: {', '.join(self._columns)}>"


class TensorDataset(Dataset[Sample]):
    """Samples of a checkout for a PyTorch DataLoader.

    Parameters
    ----------
    checkout : Checkout
        Any; a read-only one can also be used by worker processes, started by fork or spawn.
    columns : str or sequence of str, optional
        All columns when omitted. The samples are the keys that the columns share; a single name
        gives the value itself instead of a tuple.
    transform : callable, optional
        Called with one sample; its results are collated by the DataLoader.
    as_dict : bool
        Samples as dicts by column name instead of tuples.
    keys : sequence of key, optional
        Only these samples, in this order. See also `subset` and `split`.

    Raises
    ------
    ColumnNotFoundError
    InvalidInputError
        The columns do not have the same keys.
    SampleNotFoundError
        A column lacks one of `keys`.

    Notes
    -----
    Values are torch tensors of the stored dtype; texts and bytes stay what they are; a nested
    sample is a dict. A DataLoader reads each batch in one call: one gather a column from the
    memory map. Batches of columns with varying shapes are lists.
    """

    def __init__(
        self,
        checkout: Checkout | EditableCheckout,
        columns: str | Sequence[str] | None = None,
        transform: Callable[[Sample], Any] | None = None,
        *,
        as_dict: bool = False,
        keys: Sequence[Key] | None = None,
    ) -> None:
        check_readable(checkout)
        self.checkout = checkout
        self._is_single = isinstance(columns, str) and not as_dict
        names = [columns] if isinstance(columns, str) else columns
        self.columns: tuple[str, ...] = tuple(checkout.columns if names is None else names)
        if not self.columns:
            raise InvalidInputError("a dataset needs at least one column")
        if len(set(self.columns)) != len(self.columns):
            raise InvalidInputError(f"columns {list(self.columns)} name one column twice")
        for name in self.columns:
            if name not in checkout.columns:
                known = ", ".join(checkout.columns) or "none"
                raise ColumnNotFoundError(f"no column {name!r}; there are: {known}")
        self.transform = transform
        self.as_dict = as_dict
        self._positions: dict[str, NDArray[np.int64]] | None = None
        self._key_hashes: NDArray[np.uint64] | None = None
        # The splits that gave these samples; None where others were chosen otherwise.
        self._splits: Splits | None = () if keys is None else None
        first = checkout.columns[self.columns[0]]
        if keys is not None:
            listed = list(keys)
            self._positions = {
                name: checkout.columns[name].positions(listed) for name in self.columns
            }
            self._count = len(listed)
        else:
            self._check_same_keys()
            self._count = len(first)

    def _check_same_keys(self) -> None:
        columns = [self.checkout.columns[name] for name in self.columns]
        first = columns[0]
        for other in columns[1:]:
            if first.has_same_keys(other):
                continue
            mine, yours = set(first.keys()), set(other.keys())
            lacking = sorted(map(repr, mine ^ yours))[:3]
            raise with_hint(
                InvalidInputError(
                    f"columns {first.name!r} and {other.name!r} do not have the same samples: "
                    f"{len(mine - yours)} only in the first, {len(yours - mine)} only in the "
                    f"second, such as {', '.join(lacking)}"
                ),
                "name the samples to use with keys=, such as "
                f"keys=sorted(co[{first.name!r}].keys() & co[{other.name!r}].keys())",
            )

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        """Return one sample; for a slice, a list, an array or a tensor of places, many at once.

        Many are what a DataLoader makes of a batch: each column stacked. With `transform` they
        are a list of its results.
        """
        if isinstance(place, slice):
            return self._many(np.arange(*place.indices(len(self))))
        if isinstance(place, (list, np.ndarray, torch.Tensor, range)) and np.ndim(place) == 1:
            return self._many(_places(place))
        if isinstance(place, (bool, np.bool_)):
            raise InvalidInputError(f"a place in a dataset is an int, not {place!r}")
        at = as_int(place)
        if not -len(self) <= at < len(self):
            raise IndexError(f"place {at} is outside a dataset of {len(self)} samples")
        return self._finish(self._read(np.array([at % len(self)]))[0], at % len(self))

    def _many(self, places: NDArray[np.intp]) -> Any:
        batch = self._read(places)
        if self.transform is not None:
            return list(map(self._finish, batch, places.tolist()))
        return batch.columns[0] if self._is_single else batch.columns

    def __getitems__(self, places: Sequence[int]) -> Any:
        """Return many samples in one read: a `Batch`, or a list of what `transform` made."""
        found = _places(places)
        batch = self._read(found)
        if self.transform is None and not self._is_single:
            return batch
        return list(map(self._finish, batch, found.tolist()))

    def _finish(self, sample: Sample, place: int) -> Any:
        value = sample[0] if self._is_single else sample
        if self.transform is None:
            return value
        with leaving(), telling(lambda: f"sample {self.keys_at([place])[0]!r}"):
            return self.transform(value)

    def _read(self, places: NDArray[np.intp]) -> Batch:
        return Batch(self.gather(places), len(places), as_dict=self.as_dict)

    @property
    def layout_name(self) -> str:
        """How samples and batches come: ``dict``, ``tuple`` or ``value``."""
        return "value" if self._is_single else "dict" if self.as_dict else "tuple"

    def layout(self, values: dict[str, Any]) -> Any:
        """Return columns, or the values of one sample, as this data set gives them."""
        if self._is_single:
            return values[self.columns[0]]
        return values if self.as_dict else tuple(values.values())

    def gather(self, places: NDArray[Any], memory: Memory = FRESH_MEMORY) -> dict[str, Any]:
        """Read samples, one gather a column.

        Parameters
        ----------
        places : ndarray, shape (n,)
            Samples by number, in any order; repeats allowed.
        memory : Memory
            Where arrays to be filled come from.

        Returns
        -------
        dict
            By column a tensor ``(n, *shape)``, or a list where shapes vary, of text, bytes and
            nested samples.
        """
        columns = {}
        for name in self.columns:
            at = self._at(name, places)
            column = self.checkout.columns[name]
            with telling(partial(self._told_of, name, places)):
                columns[name] = _read_column(column, at, memory)
        return columns

    def fetch(self, places: NDArray[Any]) -> int:
        """Bring what some samples lack in a partial clone, one request a column; return how many.

        Notes
        -----
        Costs next to nothing where all is here.
        """
        return sum(
            self.checkout.columns[name].fetch(self._at(name, places)) for name in self.columns
        )

    def _at(self, name: str, places: NDArray[Any]) -> NDArray[Any]:
        return places if self._positions is None else self._positions[name][places]

    def keys_at(self, places: Sequence[int] | NDArray[Any]) -> list[Key]:
        """Return the keys of some samples; looks each up, about 20 µs."""
        column = self.checkout.columns[self.columns[0]]
        keys: Any = column.sample_keys() if isinstance(column, NestedColumn) else column.keys()
        return [keys[at] for at in self._at(self.columns[0], np.asarray(places, np.int64)).tolist()]

    def _told_of(self, name: str, places: NDArray[Any]) -> str:
        """Return which samples of a batch cannot be read."""
        bad = []
        for place in places.tolist():
            try:
                _read_column(
                    self.checkout.columns[name], self._at(name, np.array([place])), FRESH_MEMORY
                )
            except CorruptionError:
                bad += self.keys_at([place])
                if len(bad) == _NAMED_KEYS:
                    break
            except TensorVCSError:
                # A remote that does not answer would be asked for each of them.
                bad += self.keys_at([place])
                break
        shown = ", ".join(map(repr, bad)) or f"one of {len(places)}"
        return f"column {name!r}, sample {shown}{', …' if len(bad) == _NAMED_KEYS else ''}"

    def values_of(self, column: str) -> NDArray[Any]:
        """Return a column of scalars or texts for all samples, in their order.

        Parameters
        ----------
        column : str
            Any of the checkout that has these samples.

        Raises
        ------
        ColumnNotFoundError, SampleNotFoundError
        InvalidInputError
            A value is no scalar and no text.
        """
        found = self.checkout.columns[column]
        if isinstance(found, NestedColumn) or (found.shape or ()) != () or found.kind == "bytes":
            raise InvalidInputError(f"column {column!r} is {found.schema.spelling}, not one number")
        first = self.checkout.columns[self.columns[0]]
        if column in self.columns or found.has_same_keys(first):
            name = column if column in self.columns else self.columns[0]
            at = self._at(name, np.arange(len(self)))
        else:
            at = found.positions(self.keys_at(np.arange(len(self))))
        return np.asarray(found.read(at))

    def sample_nbytes(self) -> int:
        """Return the bytes of a sample, those of columns with one shape alone."""
        return sum(schema.row_nbytes for schema in self._stacked())

    @property
    def is_stacked(self) -> bool:
        """Whether every column has one shape, so that a batch of it is one gather."""
        return len(self._stacked()) == len(self.columns)

    def _stacked(self) -> list[Schema]:
        schemas = [self.checkout.columns[name].schema for name in self.columns]
        return [schema for schema in schemas if schema.is_fixed_shape and not schema.nested]

    def key_hashes(self) -> NDArray[np.uint64]:
        """Return a word for each sample that depends on its key alone, shape (n,).

        Notes
        -----
        Scans the keys of the first column, about 1 µs each; kept after that.
        """
        if self._key_hashes is None:
            column = self.checkout.columns[self.columns[0]]
            hashes = key_hashes(column)
            self._key_hashes = (
                hashes if self._positions is None else hashes[self._positions[self.columns[0]]]
            )
        return self._key_hashes

    def identity(self) -> dict[str, Any]:
        """Return plain values that tell these samples from others: commit, columns and digest."""
        return identity_of(self.checkout, self.columns, self._positions)

    def record(self, max_nbytes: int = MAX_NBYTES) -> dict[str, Any]:
        """Return `identity`, and which samples these are where they are not all.

        Parameters
        ----------
        max_nbytes : int
            How long the positions of samples may be.

        Returns
        -------
        dict
            As `identity`, and for a part of the samples ``chosen``: ``count``; and ``splits``,
            where they come from `split` alone, or ``mask`` or ``steps``, positions in key order of
            the first column. Only ``count`` where those are too long.
        """
        found = self.identity()
        if self._positions is None:
            return found
        if self._splits is not None:
            return {**found, "chosen": spell_splits(self._splits, len(self))}
        column = self.checkout.columns[self.columns[0]]
        positions = self._positions[self.columns[0]].astype(np.int64)
        return {**found, "chosen": spell_positions(positions, len(column), max_nbytes)}

    def difference(self, then: Mapping[str, Any]) -> str:
        """Tell what changed since another `identity`, in a sentence or two."""
        return difference(self.checkout, then, self.identity())

    def subset(self, chosen: Sequence[int] | NDArray[Any] | torch.Tensor) -> TensorDataset:
        """Return a data set of some of these samples.

        Parameters
        ----------
        chosen : mask of bool, shape (n,), or sequence of int
            Which samples; ints give their order too.

        Raises
        ------
        InvalidInputError
            A mask of another length, or something else.
        IndexError
            A place is outside of the data set.
        """
        found = np.asarray(chosen)
        if found.dtype == np.bool_:
            if found.shape != (len(self),):
                raise InvalidInputError(
                    f"a mask for {len(self)} samples has shape ({len(self)},), not {found.shape}"
                )
            found = np.flatnonzero(found)
        if found.ndim != 1:
            raise InvalidInputError(f"places of a subset are a list, not {chosen!r:.80}")
        places = np.arange(len(self)).take(_places(found))
        made = copy(self)
        made._positions = {name: self._at(name, places) for name in self.columns}
        made._key_hashes = None if self._key_hashes is None else self._key_hashes[places]
        made._count = len(places)
        made._splits = None
        return made

    def since(self, revision: str | Commit) -> TensorDataset:
        """Return the samples that were added or modified after a revision, in their order here.

        Parameters
        ----------
        revision : str or Commit
            Such as the commit that a model was trained on.

        Returns
        -------
        TensorDataset
            The samples that have a value in one of the columns that they did not have at the
            revision. All samples where a column is new since then, or has another schema.

        Raises
        ------
        RevisionNotFoundError
        ObjectNotFoundError
            A partial clone does not have the trees of that revision.

        Notes
        -----
        The cost follows what differs, not the size of the columns.
        """
        first = self.checkout.columns[self.columns[0]]
        keys = changed_since(self.checkout, self.columns, revision)
        if keys is None:
            return self.subset(np.arange(len(self)))
        known = [key for key in keys if key in first]
        positions = np.sort(first.positions(known))
        if self._positions is None:
            return self.subset(positions)
        return self.subset(np.isin(self._positions[self.columns[0]], positions))

    def split(
        self,
        shares: Mapping[str, float],
        *,
        seed: int = 0,
        identical: str | Sequence[str] = (),
    ) -> dict[str, TensorDataset]:
        """Return disjoint parts of this data set, by hash of the key.

        Parameters
        ----------
        shares : mapping of str to float
            Names and sizes, such as ``{"train": 0.9, "test": 0.1}``; sizes are relative.
        seed : int
            Another seed gives another split.
        identical : str or sequence of str
            Columns of which no value may be in two parts: samples with an identical value in one
            of them stay together.

        Returns
        -------
        dict
            By name, in the order of `shares`; sizes are near what was asked for, not exact.

        Notes
        -----
        Where a sample goes depends on its key, the seed and the shares alone. So it stays when
        samples are added, deleted or modified, and on every machine. Samples kept together go
        where the one goes whose key hashes lowest; a new twin may take others with it.
        """
        names = [identical] if isinstance(identical, str) else list(identical)
        seed = as_count("seed", seed)
        places = split_places(self.key_hashes(), shares, seed, [self._twins(n) for n in names])
        parts = {name: self.subset(chosen) for name, chosen in places.items()}
        if self._splits is not None:
            sizes = tuple((name, float(share)) for name, share in shares.items())
            for name, part in parts.items():
                part._splits = (*self._splits, SplitPart(sizes, seed, tuple(names), name))
        return parts

    def _twins(self, name: str) -> NDArray[np.uint64]:
        """Return a word for each sample, equal for those with an identical value in a column."""
        column = self.checkout.columns[name]
        if isinstance(column, NestedColumn):
            raise InvalidInputError(f"column {name!r} is nested: a sample of it is no one value")
        if name in self.columns:
            at = self._at(name, np.arange(len(self)))
        else:
            at = column.positions(self.keys_at(np.arange(len(self))))
        return value_words(column).take(at)

    def __repr__(self) -> str:
        return f"<TensorDataset of {len(self)} samples: {', '.join(self.columns)}>"


def _places(places: Any) -> NDArray[np.intp]:
    """Return places as an array; raise InvalidInputError for a mask and for what is no int."""
    found = np.asarray(places)
    if found.size and found.dtype.kind not in "iu":
        raise with_hint(
            InvalidInputError(f"places in a dataset are ints, not {found.dtype}"),
            "for a mask use numpy.flatnonzero(mask)",
        )
    return found.astype(np.intp, copy=False)


def _read_column(column: Column | NestedColumn, positions: NDArray[Any], memory: Memory) -> Any:
    if isinstance(column, NestedColumn):
        return [value_to_torch(sample) for sample in column.read(positions)]
    schema = column.schema
    out = None
    if schema.is_fixed_shape:
        out = memory.array((len(positions), *schema.fixed_shape), schema.numpy_dtype)
    values = column.read(positions, out)
    if isinstance(values, np.ndarray):
        return to_torch(values)
    return [value_to_torch(value) for value in values]


def _collate_samples(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """Return the columns of a batch as they are; collate loose samples as torch would."""
    if isinstance(batch, Batch):
        return batch.columns
    plain = [tuple(s) if isinstance(s, TupleSample) else dict(s) for s in batch]
    return torch.utils.data.default_collate(plain)


default_collate_fn_map[TupleSample] = _collate_samples
default_collate_fn_map[DictSample] = _collate_samples
