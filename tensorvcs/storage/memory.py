"""The three stores in dicts: the reference that the others are tested against."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import ObjectNotFoundError, RefChangedError
from tensorvcs.objects.digest import array_to_digests, digest_of
from tensorvcs.objects.dtype import dtype_name
from tensorvcs.objects.tensor import value_data, value_from_data
from tensorvcs.storage.exchange import checked_data
from tensorvcs.storage.interfaces import RefChange, StoredValues, Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema


class MemoryObjects:
    """ObjectStore in a dict; counts what is read and written."""

    def __init__(self) -> None:
        self.objects: dict[bytes, bytes] = {}
        self.get_count = 0
        self.put_count = 0
        self.put_nbytes = 0

    def get(self, digests: Sequence[bytes]) -> list[bytes]:
        self.get_count += len(digests)
        try:
            return [self.objects[digest] for digest in digests]
        except KeyError as error:
            raise ObjectNotFoundError(f"object {error.args[0].hex()} is not here") from None

    def put(self, objects: Sequence[bytes]) -> list[bytes]:
        digests = [digest_of(content) for content in objects]
        for digest, content in zip(digests, objects, strict=True):
            if digest not in self.objects:
                self.put_count += 1
                self.put_nbytes += len(content)
                self.objects[digest] = bytes(content)
        return digests

    def missing(self, digests: Sequence[bytes]) -> list[bytes]:
        return [digest for digest in digests if digest not in self.objects]

    def find(self, prefix_hex: str, limit: int = 3) -> list[bytes]:
        return sorted(d for d in self.objects if d.hex().startswith(prefix_hex))[:limit]


class MemoryTable:
    """LocationTable over a list of values."""

    def __init__(self, schema: Schema, values: list[Any]) -> None:
        self._schema = schema
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def read(
        self, positions: NDArray[np.integer[Any]], out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        shape = (len(positions), *self._schema.fixed_shape)
        if out is None:
            out = np.empty(shape, self._schema.numpy_dtype)
        for place, position in enumerate(positions.tolist()):
            out[place] = self._values[position]
        return out

    def read_list(self, positions: NDArray[np.integer[Any]]) -> list[Any]:
        return [_fresh(self._values[position]) for position in positions.tolist()]

    def fetch(self, positions: NDArray[np.integer[Any]]) -> int:
        return 0

    def view(self, start: int, stop: int, *, is_private: bool = False) -> NDArray[Any] | None:
        return None


class MemoryTensors:
    """TensorStore in a dict."""

    def __init__(self) -> None:
        self.values: dict[bytes, Any] = {}
        self._unsealed: dict[bytes, Any] = {}
        self._unsealed_nbytes = 0

    def contains(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.array([d in self.values for d in array_to_digests(digests)], np.bool_)

    def read(self, schema: Schema, digests: NDArray[np.uint8]) -> list[Any]:
        return [_fresh(self._value(digest)) for digest in array_to_digests(digests)]

    def _value(self, digest: bytes) -> Any:
        if digest not in self.values:
            raise ObjectNotFoundError(f"tensor {digest.hex()} is not here")
        return self.values[digest]

    def table(
        self,
        schema: Schema,
        leaves: Sequence[bytes],
        counts: NDArray[np.int64],
        load: Callable[[Sequence[bytes]], Iterable[NDArray[np.uint8]]],
    ) -> MemoryTable:
        values = [self._value(d) for leaf in load(leaves) for d in array_to_digests(leaf)]
        return MemoryTable(schema, values)

    def write(
        self, schema: Schema, digests: NDArray[np.uint8], values: NDArray[Any] | Sequence[Any]
    ) -> None:
        for digest, value in zip(array_to_digests(digests), values, strict=True):
            self._unsealed[digest] = _fresh(value)
            self._unsealed_nbytes += value.nbytes if hasattr(value, "nbytes") else len(value)

    def fetch(self, digests: NDArray[np.uint8]) -> int:
        return 0

    def sizes(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        values = [self._value(digest) for digest in array_to_digests(digests)]
        return np.array([len(_data_of(value)) for value in values], np.int64)

    def stored(self, digests: NDArray[np.uint8]) -> Iterator[StoredValues]:
        for digest in dict.fromkeys(array_to_digests(digests)):
            value = self._value(digest)
            is_array = isinstance(value, (np.ndarray, np.generic))
            value = np.asarray(value) if is_array else value
            data = np.frombuffer(_data_of(value), np.uint8)
            yield StoredValues(
                kind="ndarray" if is_array else "str" if isinstance(value, str) else "bytes",
                dtype=dtype_name(value.dtype) if is_array else "",
                shape=None,
                compressor=None,
                digests=np.frombuffer(digest, np.uint8).reshape(1, 32),
                shapes=np.array([value.shape if is_array else ()], np.int64),
                sizes=np.array([len(data)]),
                data=data,
            )

    def take(self, values: StoredValues) -> None:
        for place, data in enumerate(checked_data(values)):
            shape = tuple(values.shapes[place].tolist()) if values.shape is None else values.shape
            value = value_from_data(values.kind, values.dtype, shape, data.data)
            self._unsealed[values.digests[place].tobytes()] = value
        self._unsealed_nbytes += len(values.data)

    @property
    def unsealed_nbytes(self) -> int:
        return self._unsealed_nbytes

    def seal(self) -> None:
        self.values.update(self._unsealed)
        self.discard()

    def discard(self) -> None:
        self._unsealed = {}
        self._unsealed_nbytes = 0


class MemoryRefs:
    """RefStore in a dict."""

    def __init__(self) -> None:
        self.refs: dict[str, bytes] = {}
        self.log: list[bytes] = []

    def get(self, name: str) -> bytes | None:
        return self.refs.get(name)

    def items(self, prefix: str = "") -> Mapping[str, bytes]:
        return {name: self.refs[name] for name in sorted(self.refs) if name.startswith(prefix)}

    def swap(self, changes: Sequence[RefChange], operation: bytes | None = None) -> None:
        for change in changes:
            if self.refs.get(change.name) != change.before:
                raise RefChangedError(f"ref {change.name} was changed by somebody else")
        for change in changes:
            if change.after is None:
                self.refs.pop(change.name, None)
            else:
                self.refs[change.name] = change.after
        if operation is not None:
            self.log.append(operation)

    def operations(self, limit: int | None = None) -> list[tuple[int, bytes]]:
        newest = list(enumerate(self.log, 1))[::-1]
        return newest if limit is None else newest[:limit]


def memory_stores() -> Stores:
    """Return empty stores in memory."""
    objects, tensors, refs = MemoryObjects(), MemoryTensors(), MemoryRefs()

    @contextmanager
    def transaction() -> Iterator[None]:
        saved = dict(objects.objects), dict(tensors.values), dict(refs.refs), list(refs.log)
        try:
            yield
        except BaseException:
            objects.objects, tensors.values, refs.refs, refs.log = saved
            raise

    return Stores(objects, tensors, refs, transaction)


def _data_of(value: Any) -> bytes | memoryview:
    return value_data(np.asarray(value) if isinstance(value, np.generic) else value)


def _fresh(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
