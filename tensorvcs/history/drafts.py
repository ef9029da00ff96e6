"""Stores over others that keep what is written in memory: for a merge before it is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.digest import array_to_digests, digest_of
from tensorvcs.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import (
        LocationTable,
        ObjectStore,
        StoredValues,
        TensorStore,
    )

DRAFT_NBYTES = 256 << 20
"""What a draft store keeps of new values."""


class DraftObjects:
    """ObjectStore over another; new objects stay in memory until `save`."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._drafts: dict[bytes, bytes] = {}

    def get(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return the objects, drafts among them; raise ObjectNotFoundError."""
        absent = [digest for digest in digests if digest not in self._drafts]
        found = dict(zip(absent, self._objects.get(absent), strict=True)) if absent else {}
        return [self._drafts[d] if d in self._drafts else found[d] for d in digests]

    def put(self, objects: Sequence[bytes]) -> list[bytes]:
        """Keep objects in memory and return their digests."""
        digests = [digest_of(content) for content in objects]
        self._drafts.update(zip(digests, objects, strict=True))
        return digests

    def missing(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return those of `digests` that are neither a draft nor in the store below."""
        return self._objects.missing([d for d in digests if d not in self._drafts])

    def find(self, prefix_hex: str, limit: int = 3) -> list[bytes]:
        """Return digests of what is recorded; a draft has no name that a person would type."""
        return self._objects.find(prefix_hex, limit)

    def save_columns(self, columns: Columns) -> None:
        """Put the drafts that columns reach into the store below, and leave the others.

        Notes
        -----
        Reads no node of the store below: what such a node reaches is there as well.
        """
        roots = [root for s in columns.values() for root in (s.tree.ints, s.tree.texts)]
        queue = [bytes(root.digest) for root in roots if root is not None]
        reached: dict[bytes, bytes] = {}
        while queue:
            digest = queue.pop()
            content = self._drafts.get(digest)
            if content is None or digest in reached:
                continue
            reached[digest] = content
            node = Node(content)
            if node.level:
                queue += array_to_digests(node.children)
        self._objects.put(list(reached.values()))

    def save(self) -> None:
        """Put all drafts into the store below, inside the caller's transaction."""
        self._objects.put(list(self._drafts.values()))
        self._drafts = {}


class DraftTensors:
    """TensorStore over another; new values stay in memory, up to `DRAFT_NBYTES` of them.

    What is written past that is dropped, and reading it raises ObjectNotFoundError.
    """

    def __init__(self, tensors: TensorStore) -> None:
        self._tensors = tensors
        self._drafts: dict[bytes, Any] = {}
        self._left = DRAFT_NBYTES

    def contains(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for each digest whether its value is a draft or in the store below."""
        is_draft = np.array([d in self._drafts for d in array_to_digests(digests)], np.bool_)
        found: NDArray[np.bool_] = is_draft | self._tensors.contains(digests)
        return found

    def read(self, schema: Schema, digests: NDArray[np.uint8]) -> list[Any]:
        """Return the values, drafts among them; raise as the store below does."""
        values = [self._drafts.get(digest) for digest in array_to_digests(digests)]
        absent = [place for place, value in enumerate(values) if value is None]
        if absent:
            for place, value in zip(
                absent, self._tensors.read(schema, digests[absent]), strict=True
            ):
                values[place] = value
        return [value.copy() if isinstance(value, np.ndarray) else value for value in values]

    def table(
        self,
        schema: Schema,
        leaves: Sequence[bytes],
        counts: NDArray[np.int64],
        load: Callable[[Sequence[bytes]], Iterable[NDArray[np.uint8]]],
    ) -> LocationTable:
        """Return the location table of a column without drafts."""
        return self._tensors.table(schema, leaves, counts, load)

    def fetch(self, digests: NDArray[np.uint8]) -> int:
        """Bring values that are absent below; drafts are here."""
        is_draft = np.array([d in self._drafts for d in array_to_digests(digests)], np.bool_)
        return self._tensors.fetch(digests[~is_draft])

    def sizes(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the sizes of values that are recorded; drafts leave no store."""
        return self._tensors.sizes(digests)

    def stored(self, digests: NDArray[np.uint8]) -> Iterator[StoredValues]:
        """Yield values that are recorded; drafts leave no store."""
        return self._tensors.stored(digests)

    def take(self, values: StoredValues) -> None:
        """Hand values of another store to the store below."""
        self._tensors.take(values)

    def write(
        self, schema: Schema, digests: NDArray[np.uint8], values: NDArray[Any] | Sequence[Any]
    ) -> None:
        """Keep values in memory, copied."""
        for digest, value in zip(array_to_digests(digests), values, strict=True):
            self._left -= value.nbytes if isinstance(value, np.ndarray) else len(value)
            if self._left < 0:
                return
            self._drafts[digest] = value.copy() if isinstance(value, np.ndarray) else value

    @property
    def unsealed_nbytes(self) -> int:
        """Nothing: drafts wait for no seal."""
        return 0

    def seal(self) -> None:
        """Leave the drafts where they are."""

    def discard(self) -> None:
        """Forget the drafts."""
        self._drafts = {}
        self._left = DRAFT_NBYTES
