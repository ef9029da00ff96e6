"""An editable checkout in dicts, checked as strictly as the real one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.dtype import dtype_name
from tensorvcs.objects.keys import check_key
from tensorvcs.objects.schema import Schema, check_column_name
from tensorvcs.objects.tensor import canonical_value

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterable, Sequence

    from numpy.typing import DTypeLike, NDArray

    from tensorvcs.objects.keys import Key


def key_order(key: Key) -> tuple[bool, Key]:
    return isinstance(key, str), key


@dataclass
class FakeColumn:
    """A column in a dict; keeps what each call of `extend` brought."""

    schema: Schema
    values: dict[Key, Any] = field(default_factory=dict)
    extended_counts: list[int] = field(default_factory=list)
    extended_nbytes: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values)

    def keys(self) -> list[Key]:
        return sorted(self.values, key=key_order)

    def items(self) -> ItemsView[Key, Any]:
        return {key: self.values[key] for key in self.keys()}.items()

    def __getitem__(self, selection: Any) -> Any:
        if isinstance(selection, slice):
            selection = self.keys()[selection]
        elif not isinstance(selection, list):
            return self.values[selection]
        found = [self.values[key] for key in selection]
        if not self.schema.is_fixed_shape:
            return found
        return np.array(found, self.schema.numpy_dtype).reshape(
            len(found), *self.schema.fixed_shape
        )

    def extend(
        self, arrays: NDArray[Any] | Iterable[Any], keys: Iterable[Key] | None = None
    ) -> Sequence[Key]:
        assert keys is not None
        listed = list(keys)
        values = list(arrays)
        assert len(listed) == len(values)
        assert len(set(listed)) == len(listed)
        for key, value in zip(listed, values, strict=True):
            self.values[check_key(key)] = canonical_value(self.schema, value)
        self.extended_counts.append(len(listed))
        self.extended_nbytes.append(sum(getattr(value, "nbytes", 0) for value in values))
        return listed


class FakeTarget:
    """An editable checkout, and a checkout to read, in dicts."""

    def __init__(self) -> None:
        self.columns: dict[str, FakeColumn] = {}

    def __getitem__(self, name: str) -> FakeColumn:
        return self.columns[name]

    def add_ndarray_column(
        self,
        name: str,
        shape: Sequence[int | None] | None = None,
        dtype: DTypeLike | None = None,
        *,
        variable_shape: bool = False,
    ) -> FakeColumn:
        assert shape is not None and dtype is not None
        schema = Schema("ndarray", dtype_name(dtype), tuple(shape), variable_shape=variable_shape)
        return self.add(name, schema)

    def add_str_column(self, name: str) -> FakeColumn:
        return self.add(name, Schema("str"))

    def add_bytes_column(self, name: str) -> FakeColumn:
        return self.add(name, Schema("bytes"))

    def add(self, name: str, schema: Schema) -> FakeColumn:
        assert name not in self.columns
        self.columns[check_column_name(name)] = FakeColumn(schema)
        return self.columns[name]
