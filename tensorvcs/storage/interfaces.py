"""The waist: three protocols. All logic is above them, all disk formats below.

A batch of digests is an array of shape (n, 32), uint8, called a digest array.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Kind, Schema


class ObjectStore(Protocol):
    """Canonical bytes by digest: nodes, snapshots, commits, tags."""

    def get(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return the objects, each checked against its digest.

        Raises ObjectNotFoundError or DigestMismatchError.
        """
        ...

    def put(self, objects: Sequence[bytes]) -> list[bytes]:
        """Store objects and return their digests; one that is there already costs nothing."""
        ...

    def missing(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return those of `digests` that are not here, in their order."""
        ...

    def find(self, prefix_hex: str, limit: int = 3) -> list[bytes]:
        """Return up to `limit` digests whose hexadecimal spelling starts with `prefix_hex`."""
        ...


class LocationTable(Protocol):
    """Where each value of one column is, in key order; reads batches by position."""

    def __len__(self) -> int: ...

    def read(
        self, positions: NDArray[np.integer[Any]], out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Fill and return `(n, *shape)`; only for a fixed-shape schema.

        A position outside ``-len .. len - 1`` raises IndexError.
        """
        ...

    def read_list(
        self, positions: NDArray[np.integer[Any]]
    ) -> list[NDArray[Any]] | list[str] | list[bytes]:
        """Return the values one by one, for any schema."""
        ...

    def fetch(self, positions: NDArray[np.integer[Any]]) -> int:
        """Bring the values at some positions that are absent, as `read` would; return how many.

        Raises ObjectNotFoundError when one cannot be had.
        """
        ...

    def view(self, start: int, stop: int, *, is_private: bool = False) -> NDArray[Any] | None:
        """Return the values of a range without copying them, shape (stop - start, *shape).

        Read-only; or writable with `is_private`, where writes stay in the array that was
        returned. None where the values do not lie behind each other as they are.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredValues:
    """Values of one layout as a store keeps them, on their way to another store.

    Attributes
    ----------
    kind : {"ndarray", "str", "bytes"}
    dtype : str
        Canonical dtype name; empty for text and bytes.
    shape : tuple of int, or None
        The shape of every value, when they are rows; None when each is a frame of its own.
    compressor : {"lz4", "zstd"} or None
        How the store compresses them, and how they come: frames each by itself, rows all
        together as one frame.
    digests : ndarray, shape (n, 32), uint8
    shapes : ndarray, shape (n, ndim), int64
        Of frames; shape (n, 0) for rows, text and bytes.
    sizes : ndarray, shape (n,), int64
        The bytes of each value: of a frame as it is in `data`, of a row as it is.
    data : ndarray, shape (nbytes,), uint8
        The values behind each other, or the frame of compressed rows.
    """

    kind: Kind
    dtype: str
    shape: tuple[int, ...] | None
    compressor: Literal["lz4", "zstd"] | None
    digests: NDArray[np.uint8]
    shapes: NDArray[np.int64]
    sizes: NDArray[np.int64]
    data: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.digests)


class TensorStore(Protocol):
    """Values by digest."""

    def contains(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for each digest whether its value is here."""
        ...

    def read(self, schema: Schema, digests: NDArray[np.uint8]) -> list[Any]:
        """Return the values, in order; each is a fresh array, a text or bytes.

        Raises ObjectNotFoundError, SlabChecksumError or PackDamagedError.
        """
        ...

    def table(
        self,
        schema: Schema,
        leaves: Sequence[bytes],
        counts: NDArray[np.int64],
        load: Callable[[Sequence[bytes]], Iterable[NDArray[np.uint8]]],
    ) -> LocationTable:
        """Return the location table of a column.

        `leaves` are the digests of its leaves in order, `counts` their numbers of values, and
        `load` gives the digest arrays of the leaves asked for. What is known of a leaf from an
        earlier table is not loaded again.
        """
        ...

    def fetch(self, digests: NDArray[np.uint8]) -> int:
        """Bring those values that are absent, where something supplies them; return how many.

        Nothing is brought, and nothing raised, where nothing supplies values: a later `read` says
        what is absent. Raises ObjectNotFoundError when what supplies them has not got one.
        """
        ...

    def sizes(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the bytes of each value, shape (n,), as `StoredValues.sizes` has them.

        Raises ObjectNotFoundError or PackDamagedError.
        """
        ...

    def stored(self, digests: NDArray[np.uint8]) -> Iterator[StoredValues]:
        """Yield values as they are kept, in any order, in parts of a few MiB; each value once.

        Raises ObjectNotFoundError, SlabChecksumError or PackDamagedError.
        """
        ...

    def take(self, values: StoredValues) -> None:
        """Keep values that another store gave out, as `write` does.

        Each is hashed first: DigestMismatchError when one is not what its name says, and nothing
        of these values is kept.
        """
        ...

    def write(
        self, schema: Schema, digests: NDArray[np.uint8], values: NDArray[Any] | Sequence[Any]
    ) -> None:
        """Take canonical values (a stacked array when the shape is fixed) under their digests.

        Values that are here already are dropped. What is written can be read, and survives a
        crash, after `seal`.
        """
        ...

    @property
    def unsealed_nbytes(self) -> int:
        """Payload bytes written since the last `seal`."""
        ...

    def seal(self) -> None:
        """Make all that was written durable and readable.

        The index entries belong to the write transaction of the stores when one is open.
        """
        ...

    def discard(self) -> None:
        """Forget what was written since the last `seal`."""
        ...


@dataclass(frozen=True, slots=True)
class TensorStats:
    """What a tensor store holds and what it takes.

    Attributes
    ----------
    pack_count, loose_count, value_count : int
        `value_count` is that of packs and loose values together.
    payload_nbytes : int
        Of the values in packs, before compression.
    file_nbytes : int
        Of the pack files.
    loose_nbytes : int
        Of LMDB pages that hold loose values.
    small_pack_count : int
        Packs of less than 16 MiB, which a repack may join.
    """

    pack_count: int
    loose_count: int
    value_count: int
    payload_nbytes: int
    file_nbytes: int
    loose_nbytes: int
    small_pack_count: int = 0


@dataclass(frozen=True, slots=True)
class RefChange:
    """One compare-and-swap: the value expected before and wanted after; None is absence."""

    name: str
    before: bytes | None
    after: bytes | None


class RefStore(Protocol):
    """Names to small values, and the log of their changes."""

    def get(self, name: str) -> bytes | None:
        """Return the value of a ref, or None."""
        ...

    def items(self, prefix: str = "") -> Mapping[str, bytes]:
        """Return all refs whose name starts with `prefix`, sorted by name."""
        ...

    def swap(self, changes: Sequence[RefChange], operation: bytes | None = None) -> None:
        """Make all changes, or none and raise RefChangedError; append `operation` to the log."""
        ...

    def operations(self, limit: int | None = None) -> list[tuple[int, bytes]]:
        """Return (number, record) of the newest operations, newest first."""
        ...


def _unpinned(digest: bytes) -> None:
    """Do nothing: the pin of stores from which nothing is dropped."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The three stores of one repository, and the write transaction they share."""

    objects: ObjectStore
    tensors: TensorStore
    refs: RefStore
    transaction: Callable[[], AbstractContextManager[object]]
    """``with stores.transaction():`` makes all object, index and ref writes inside visible and
    durable in one step, or none of them. Nested use joins the outer one."""
    lease: Callable[[], AbstractContextManager[object]] = nullcontext
    """``with stores.lease():`` keeps all that is here, and that is put here, from being dropped as
    garbage: for work that relies on it before a ref names it. Not to be begun inside a
    transaction, where nothing is dropped."""
    pin: Callable[[bytes], object] = _unpinned
    """Keep a commit from being dropped as long as what is returned lives."""
