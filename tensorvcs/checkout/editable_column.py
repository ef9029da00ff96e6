"""Columns that can be changed: the mapping of a column, with writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from tensorvcs.checkout.column import Column, ColumnReader
from tensorvcs.checkout.nested_column import NestedColumn, Subsamples
from tensorvcs.checkout.selection import is_many, not_found
from tensorvcs.checkout.staging import (
    DELETED,
    FLUSH_NBYTES,
    FLUSH_ROWS,
    TreeKey,
    check_stack,
    check_unique,
)
from tensorvcs.errors import (
    DuplicateKeyError,
    InvalidInputError,
    SchemaMismatchError,
    with_hint,
)
from tensorvcs.objects.keys import (
    EMPTY_INTS,
    Key,
    Keys,
    check_key,
    collect_keys,
    composite_key,
    text_array,
)
from tensorvcs.objects.tensor import canonical_value
from tensorvcs.tree import cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.checkout.column import Value
    from tensorvcs.checkout.editor import EditableCheckout
    from tensorvcs.objects.schema import Schema

# A mapping is invariant in its keys: a dict of str alone is no mapping of Key.
ByKey = Union[Mapping[Key, Any], Mapping[str, Any], Mapping[int, Any]]

_NO_DEFAULT: Any = object()


class EditableColumn(Column):
    """A column under change. Assigned values can be read back at once; a read of many samples,
    of the length or of the keys flushes first."""

    def __init__(self, checkout: EditableCheckout, name: str) -> None:
        self._checkout = checkout
        self._name = name

    @property
    def _reader(self) -> ColumnReader:
        return self._checkout._reader_of(self._name)

    @property
    def schema(self) -> Schema:
        """What the values have in common."""
        return self._checkout._state(self._name).schema

    def __contains__(self, key: object) -> bool:
        return _has(self._checkout, self._name, self._safe_tree_key(key))

    def _safe_tree_key(self, key: object) -> TreeKey | None:
        try:
            return self._tree_key(key)
        except InvalidInputError:
            return None

    def __getitem__(self, selection: Any) -> Any:
        if isinstance(selection, slice) or is_many(selection):
            return super().__getitem__(selection)
        value = _get(self._checkout, self._name, self._tree_key(selection))
        if value is None:
            raise not_found(self._name, [selection])
        return value

    def __setitem__(self, key: Key, value: Value | object) -> None:
        """Stage one value; raise SchemaMismatchError or InvalidKeyError and change nothing."""
        self._checkout._check_open()
        tree_key = self._tree_key(key)
        canonical = _canonical(self.schema, self._name, key, value)
        self._checkout._staged.put(self._name, tree_key, canonical)
        self._checkout._grown()

    def __delitem__(self, key: Key) -> None:
        """Stage the deletion of a sample; raise SampleNotFoundError when it is not there."""
        self._checkout._check_open()
        tree_key = self._tree_key(key)
        if not _has(self._checkout, self._name, tree_key):
            raise not_found(self._name, [key])
        self._checkout._staged.delete(self._name, tree_key)
        self._checkout._grown()

    def pop(self, key: Key, default: Any = _NO_DEFAULT) -> Any:
        """Delete a sample and return its value, or `default` when it is not there."""
        if default is not _NO_DEFAULT and key not in self:
            return default
        value = self[key]
        del self[key]
        return value

    def clear(self) -> None:
        """Delete all samples; the column stays."""
        self._checkout._check_open()
        reader = self._reader
        self._delete_all(cursor.keys_at(reader.nodes, reader.state.tree, 0, reader.count))

    def delete_many(self, keys: Iterable[Key]) -> None:
        """Delete many samples; raise SampleNotFoundError and change nothing when one is absent."""
        self._checkout._check_open()
        listed = list(keys)
        self.positions(listed)
        self._delete_all(collect_keys(listed)[0])

    def _delete_all(self, keys: Keys) -> None:
        self._checkout._staged.delete_many(self._name, keys)
        self._checkout._grown()

    def update(self, mapping: ByKey | Iterable[tuple[Key, Any]] = (), /) -> None:
        """Stage many values: a mapping from key to value, or pairs.

        Raises
        ------
        SchemaMismatchError, InvalidKeyError, DuplicateKeyError
            The first one found, naming its key; nothing of the call is staged.
        """
        pairs = mapping.items() if isinstance(mapping, Mapping) else mapping
        listed = list(pairs)
        self.extend([value for _, value in listed], keys=[key for key, _ in listed])

    def extend(
        self, arrays: NDArray[Any] | Iterable[Any], keys: Iterable[Key] | None = None
    ) -> Sequence[Key]:
        """Stage many values in bulk.

        Parameters
        ----------
        arrays : ndarray, shape (n, *shape), or iterable of values
            A stacked array is the quick way for a column of one fixed shape.
        keys : iterable of str or int, length n, optional
            When omitted, ints that go on after the largest int key, from 0 in an empty column.

        Returns
        -------
        sequence of keys
            The keys used.

        Raises
        ------
        SchemaMismatchError, InvalidKeyError, DuplicateKeyError, InvalidInputError
            Nothing of the call is staged.

        Notes
        -----
        Values are hashed, those that are stored already are dropped, and the rest goes to a
        pack in blocks of 16 MiB; a call larger than a gigabyte flushes on its way.
        """
        self._checkout._check_open()
        schema = self.schema
        key_list: Sequence[Key]
        given: Any = keys
        if given is not None and not isinstance(given, (range, list, np.ndarray)):
            given = list(given)
        values = _stack(schema, self._name, arrays, given)
        count = len(values)
        if given is None:
            first = self._next_int_key()
            given = range(first, first + count)
        key_list = given
        if len(key_list) != count:
            raise InvalidInputError(
                f"column {self._name!r}: {count} values came with {len(key_list)} keys"
            )
        collected, places = collect_keys(key_list)
        staged = self._checkout._staged
        part = FLUSH_ROWS
        if schema.is_fixed_shape:
            part = max(1, min(part, FLUSH_NBYTES // max(1, schema.row_nbytes)))
        if count <= part:
            staged.put_many(self._name, collected, places, values)
            self._checkout._grown()
            return key_list
        _check_all(schema, self._name, collected, values)
        for start in range(0, count, part):
            stop = min(start + part, count)
            some, some_places = collect_keys(key_list[start:stop])
            staged.put_many(self._name, some, some_places, values[start:stop])
            self._checkout._grown()
        return key_list

    def _next_int_key(self) -> int:
        """Return the int key after the largest one, staged ones included."""
        staged = self._checkout._staged.largest_int(self._name)
        if staged is None:
            return self._next_int_key_of(self._reader)
        return max(staged + 1, self._next_int_key_of(self._checkout._settled_reader(self._name)))

    def _next_int_key_of(self, reader: ColumnReader) -> int:
        ints = reader.state.tree.ints
        if ints is None:
            return 0
        last = cursor.keys_at(reader.nodes, reader.state.tree, ints.count - 1, ints.count)
        return max(0, int(last.ints[0]) + 1)

    def __repr__(self) -> str:
        return f"<EditableColumn {self._name!r}: {self.schema.spelling}>"


class EditableSubsamples(Subsamples):
    """The subsamples of one sample under change."""

    def __init__(self, column: EditableNestedColumn, sample: Key) -> None:
        super().__init__(column, sample)
        self._editable = column

    def __getitem__(self, key: Key) -> Any:
        column = self._editable
        value = _get(column._checkout, column.name, composite_key(self._sample, key))
        if value is None:
            raise not_found(column.name, [(self._sample, key)])
        return value

    def __contains__(self, key: object) -> bool:
        try:
            tree_key = composite_key(self._sample, key)
        except InvalidInputError:
            return False
        return _has(self._editable._checkout, self._editable.name, tree_key)

    def __setitem__(self, key: Key, value: object) -> None:
        """Stage one subsample; the sample comes to be with its first one."""
        self._editable._put(self._sample, key, value)

    def __delitem__(self, key: Key) -> None:
        """Stage the deletion of a subsample; the sample goes with its last one."""
        column = self._editable
        column._checkout._check_open()
        if key not in self:
            raise not_found(column.name, [(self._sample, key)])
        column._checkout._staged.delete(column.name, composite_key(self._sample, key))
        column._checkout._grown()

    def pop(self, key: Key, default: Any = _NO_DEFAULT) -> Any:
        """Delete a subsample and return its value, or `default` when it is not there."""
        if default is not _NO_DEFAULT and key not in self:
            return default
        value = self[key]
        del self[key]
        return value

    def update(self, mapping: ByKey) -> None:
        """Stage many subsamples; a mismatch names its key and stages nothing."""
        self._editable.update({self._sample: {**mapping}})


class EditableNestedColumn(NestedColumn):
    """A nested column under change."""

    def __init__(self, checkout: EditableCheckout, name: str) -> None:
        self._checkout = checkout
        self._name = name
        self._samples = None

    @property
    def _reader(self) -> ColumnReader:
        return self._checkout._reader_of(self._name)

    @property
    def schema(self) -> Schema:
        """What the values have in common."""
        return self._checkout._state(self._name).schema

    def __getitem__(self, key: Key) -> EditableSubsamples:
        """Return the subsamples of a sample; one that is not there yet is empty."""
        return EditableSubsamples(self, check_key(key))

    def __setitem__(self, key: Key, subsamples: ByKey) -> None:
        """Replace a sample by a mapping of subsamples; what it does not name is deleted."""
        self._checkout._check_open()
        if not isinstance(subsamples, Mapping):
            raise SchemaMismatchError(
                "wrong type", column=self._name, key=key,
                found=type(subsamples).__name__, expected="a mapping of subsamples",
            )  # fmt: skip
        canonical = self._canonical_samples({key: subsamples})
        present = list(self[key]) if key in self else []
        staged = self._checkout._staged
        for subsample in present:
            if subsample not in subsamples:
                staged.delete(self._name, composite_key(key, subsample))
        for tree_key, value in canonical.items():
            staged.put(self._name, tree_key, value)
        self._checkout._grown()

    def __delitem__(self, key: Key) -> None:
        """Stage the deletion of a sample with all its subsamples."""
        self._checkout._check_open()
        if key not in self:
            raise not_found(self._name, [key])
        for subsample in list(self[key]):
            self._checkout._staged.delete(self._name, composite_key(key, subsample))
        self._checkout._grown()

    def update(self, mapping: ByKey) -> None:
        """Stage many subsamples of many samples; those not named stay as they are.

        A mismatch names its key and stages nothing of the call.
        """
        self._checkout._check_open()
        canonical = self._canonical_samples(mapping)
        if not canonical:
            return
        schema = self.schema
        values: Any = list(canonical.values())
        if schema.is_fixed_shape:
            values = np.stack(values)
        keys = Keys(EMPTY_INTS, text_array(list(canonical)))
        self._checkout._staged.put_many(self._name, keys, np.arange(len(keys)), values)
        self._checkout._grown()

    def _canonical_samples(self, mapping: ByKey) -> dict[bytes, Any]:
        canonical: dict[bytes, Any] = {}
        for sample, subsamples in mapping.items():
            if not isinstance(subsamples, Mapping):
                raise SchemaMismatchError(
                    "wrong type", column=self._name, key=sample,
                    found=type(subsamples).__name__, expected="a mapping of subsamples",
                )  # fmt: skip
            for subsample, value in subsamples.items():
                tree_key = composite_key(sample, subsample)
                if tree_key in canonical:
                    raise DuplicateKeyError(
                        f"column {self._name!r}: {(sample, subsample)!r} comes twice in one call"
                    )
                canonical[tree_key] = _canonical(
                    self.schema, self._name, (sample, subsample), value
                )
        return canonical

    def _put(self, sample: Key, subsample: Key, value: object) -> None:
        self._checkout._check_open()
        tree_key = composite_key(sample, subsample)
        canonical = _canonical(self.schema, self._name, (sample, subsample), value)
        self._checkout._staged.put(self._name, tree_key, canonical)
        self._checkout._grown()

    def __repr__(self) -> str:
        return f"<EditableNestedColumn {self._name!r}: {self.schema.spelling}>"


def _canonical(schema: Schema, name: str, key: object, value: object) -> Any:
    try:
        return canonical_value(schema, value)
    except SchemaMismatchError as error:
        error.column, error.key = name, key
        raise


def _get(checkout: EditableCheckout, name: str, tree_key: TreeKey) -> Any:
    waiting = checkout._staged.pending(name, tree_key)
    if waiting is DELETED:
        return None
    if waiting is not None:
        return waiting.copy() if isinstance(waiting, np.ndarray) else waiting
    if checkout._staged.has_blocks(name):
        checkout.flush()
    return checkout._settled_reader(name).get_one(tree_key)


def _has(checkout: EditableCheckout, name: str, tree_key: TreeKey | None) -> bool:
    if tree_key is None:
        return False
    waiting = checkout._staged.pending(name, tree_key)
    if waiting is not None:
        return waiting is not DELETED
    if checkout._staged.has_blocks(name):
        checkout.flush()
    reader = checkout._settled_reader(name)
    return cursor.get_one(reader.nodes, reader.state.tree, tree_key) is not None


def _stack(
    schema: Schema, name: str, arrays: Any, keys: Sequence[Key] | None
) -> NDArray[Any] | list[Any]:
    """Return the values of one call: a stacked array of a fixed shape, or a list."""
    if isinstance(arrays, Mapping):
        raise with_hint(
            InvalidInputError(f"column {name!r}: a mapping came where many values are expected"),
            "use update(mapping)",
        )
    is_one = isinstance(arrays, (str, bytes, bytearray)) or not isinstance(arrays, Iterable)
    if is_one or getattr(arrays, "ndim", 1) == 0:
        raise SchemaMismatchError(
            "one value came where many are expected",
            column=name,
            found=type(arrays).__name__,
            expected="a sequence of values",
        )
    if schema.is_fixed_shape and isinstance(arrays, np.ndarray) and arrays.dtype != object:
        return arrays
    if schema.is_fixed_shape and hasattr(arrays, "__array__"):
        return np.asarray(arrays)
    listed = list(arrays)
    named: Sequence[object] = keys if keys is not None else range(len(listed))
    values = [
        _canonical(schema, name, named[at] if at < len(named) else at, value)
        for at, value in enumerate(listed)
    ]
    if not schema.is_fixed_shape:
        return values
    stack = np.empty((len(values), *schema.fixed_shape), schema.numpy_dtype)
    for place, value in enumerate(values):
        stack[place] = value
    return stack


def _check_all(schema: Schema, name: str, keys: Keys, values: Any) -> None:
    """Check a call that is staged in parts as a whole, before its first part."""
    for sort in (keys.ints, keys.texts):
        check_unique(sort, name)
    if schema.is_fixed_shape:
        check_stack(schema, values, name)
