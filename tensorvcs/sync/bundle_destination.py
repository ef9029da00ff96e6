"""A bundle that is being written, as the destination of a transfer."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from tensorvcs.objects.digest import digest_of, digests_to_array
from tensorvcs.storage.interfaces import Stores
from tensorvcs.sync.bundle_stores import BundleRefs, out_of_reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import LocationTable, StoredValues
    from tensorvcs.sync.bundle_writer import BundleWriter
    from tensorvcs.sync.shared_content import SharedContent

_NAME = "a bundle that is being written"


def bundle_destination(writer: BundleWriter, shared: SharedContent) -> Stores:
    """Return stores to which what a bundle will hold is transferred.

    Parameters
    ----------
    writer : BundleWriter
    shared : SharedContent
        What the receiver has: it is there already.
    """
    objects, tensors = _Objects(writer, shared), _Tensors(writer, shared)
    return Stores(objects, tensors, BundleRefs({}, _NAME), nullcontext)


class _Objects:
    def __init__(self, writer: BundleWriter, shared: SharedContent) -> None:
        self._writer = writer
        self._shared = shared

    def put(self, objects: Sequence[bytes]) -> list[bytes]:
        digests = [digest_of(content) for content in objects]
        is_there = self._writer.has_objects(digests_to_array(digests)).tolist()
        self._writer.add_objects(
            [content for content, there in zip(objects, is_there, strict=True) if not there]
        )
        return digests

    def missing(self, digests: Sequence[bytes]) -> list[bytes]:
        is_there = self._writer.has_objects(digests_to_array(digests)).tolist()
        there = self._shared.objects
        return [d for d, t in zip(digests, is_there, strict=True) if not (t or d in there)]

    def get(self, digests: Sequence[bytes]) -> list[bytes]:
        raise out_of_reach(_NAME)

    def find(self, prefix_hex: str, limit: int = 3) -> list[bytes]:
        raise out_of_reach(_NAME)


class _Tensors:
    """Where values go: they are kept as they come, and hashed by whoever takes them next."""

    def __init__(self, writer: BundleWriter, shared: SharedContent) -> None:
        self._writer = writer
        self._shared = shared

    def contains(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return self._writer.has_values(digests) | self._shared.values.contains(digests)

    def take(self, values: StoredValues) -> None:
        self._writer.add_values(values)

    @property
    def unsealed_nbytes(self) -> int:
        return 0

    def seal(self) -> None:
        """What is taken is written at once."""

    def discard(self) -> None:
        """Whoever writes the file drops it as a whole."""

    def fetch(self, digests: NDArray[np.uint8]) -> int:
        return 0

    def sizes(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        raise out_of_reach(_NAME)

    def stored(self, digests: NDArray[np.uint8]) -> Iterator[StoredValues]:
        raise out_of_reach(_NAME)

    def read(self, schema: Schema, digests: NDArray[np.uint8]) -> list[Any]:
        raise out_of_reach(_NAME)

    def write(
        self, schema: Schema, digests: NDArray[np.uint8], values: NDArray[Any] | Sequence[Any]
    ) -> None:
        raise out_of_reach(_NAME)

    def table(
        self,
        schema: Schema,
        leaves: Sequence[bytes],
        counts: NDArray[np.int64],
        load: Callable[[Sequence[bytes]], Iterable[NDArray[np.uint8]]],
    ) -> LocationTable:
        raise out_of_reach(_NAME)
