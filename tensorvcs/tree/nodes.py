"""Nodes: the nodes of trees in an object store, with those used lately kept decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.tree.boundary import DEFAULT_BOUNDARY, Boundary
from tensorvcs.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import ObjectStore
    from tensorvcs.tree.tree import Root

CACHE_NBYTES = 64 << 20
# A save of more nodes than this is bulk work, whose nodes are not read again soon.
_KEPT_SAVES = 64


class Nodes:
    """Reads and writes nodes in batches, and keeps decoded ones in memory.

    Parameters
    ----------
    objects : ObjectStore
    cache_nbytes : int
        About how much memory decoded nodes may take.
    boundary : Boundary
        Where nodes end; anything but the default is for tests.

    Notes
    -----
    The cache has two generations. A hit in the old one moves to the young one; when the young
    one has half of `cache_nbytes` it becomes the old one, and the old one is dropped. A look-up
    is one or two dict look-ups without a lock, so that threads share a cache and a forked child
    never inherits a lock that is held; what a race can cost is that a node is read twice.
    """

    __slots__ = ("_old", "_young", "_young_nbytes", "boundary", "cache_nbytes", "objects")

    def __init__(
        self,
        objects: ObjectStore,
        *,
        cache_nbytes: int = CACHE_NBYTES,
        boundary: Boundary = DEFAULT_BOUNDARY,
    ) -> None:
        self.objects = objects
        self.cache_nbytes = cache_nbytes
        self.boundary = boundary
        self._young: dict[bytes, Node] = {}
        self._old: dict[bytes, Node] = {}
        self._young_nbytes = 0

    def over(self, objects: ObjectStore) -> Nodes:
        """Return the nodes of another store that has all of this one, with what is in memory."""
        twin = Nodes(objects, cache_nbytes=self.cache_nbytes, boundary=self.boundary)
        twin._old = self._young
        return twin

    def load(self, digests: Sequence[bytes], *, keep: bool = True) -> list[Node]:
        """Return the nodes of digests, in order; what is not in memory is read in one batch.

        Parameters
        ----------
        keep : bool
            Whether what is read stays in memory. A scan of everything says no.

        Raises
        ------
        ObjectNotFoundError, DigestMismatchError
            From the store.
        ObjectDamagedError, UnsupportedFormatError
            An object is no node.
        """
        found = [self._cached(digest) for digest in digests]
        absent = [place for place, node in enumerate(found) if node is None]
        if absent:
            wanted = [digests[place] for place in absent]
            for place, content in zip(absent, self.objects.get(wanted), strict=True):
                node = Node(content)
                found[place] = node
                if keep:
                    self._keep(digests[place], node)
        return found  # type: ignore[return-value]

    def load_one(self, digest: bytes) -> Node:
        """Return one node, as `load` does."""
        node = self._young.get(digest)
        return self.load([digest])[0] if node is None else node

    def load_root(self, root: Root, *, is_text: bool, value_nbytes: int) -> Node:
        """Return the root node of a tree, checked to be one of its sort, width and count."""
        node = self.load_one(root.digest)
        if node.is_text != is_text or node.value_nbytes != value_nbytes:
            raise ObjectDamagedError(
                f"root {root.digest.hex()} has {'text' if node.is_text else 'int'} keys and values "
                f"of {node.value_nbytes} bytes; expected {'text' if is_text else 'int'} keys and "
                f"{value_nbytes} bytes"
            )
        if node.total != root.count:
            raise ObjectDamagedError(
                f"root {root.digest.hex()} has {node.total} keys below it, expected {root.count}"
            )
        return node

    def load_children(
        self,
        digests: NDArray[np.uint8],
        counts: NDArray[np.int64],
        *,
        level: int,
        is_text: bool,
        value_nbytes: int,
        keep: bool = True,
    ) -> list[Node]:
        """Return nodes, each checked to be what the entry that names it says.

        Parameters
        ----------
        digests : ndarray, shape (n, 32), uint8
        counts : ndarray, shape (n,), int64
            The number of keys below each.
        level, is_text, value_nbytes : int, bool, int
            What all of them have.
        """
        names = array_to_digests(digests)
        children = self.load(names, keep=keep)
        for name, child, count in zip(names, children, counts.tolist(), strict=True):
            if (
                child.level != level
                or child.is_text != is_text
                or child.value_nbytes != value_nbytes
                or child.total != count
            ):
                raise ObjectDamagedError(
                    f"node {name.hex()} of level {child.level} with {child.total} keys does not "
                    f"fit its parent, which expects level {level} and {count} keys"
                )
        return children

    def save(self, contents: list[bytes]) -> list[bytes]:
        """Store encoded nodes in one batch and return their digests."""
        digests = self.objects.put(contents)
        if len(contents) <= _KEPT_SAVES:
            for digest, content in zip(digests, contents, strict=True):
                if self._cached(digest) is None:
                    self._keep(digest, Node(content))
        return digests

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.objects, self.cache_nbytes, self.boundary)

    def _cached(self, digest: bytes) -> Node | None:
        node = self._young.get(digest)
        if node is None:
            node = self._old.get(digest)
            if node is not None:
                self._keep(digest, node)
        return node

    def _keep(self, digest: bytes, node: Node) -> None:
        self._young[digest] = node
        self._young_nbytes += node.memory_nbytes
        if self._young_nbytes > self.cache_nbytes // 2:
            self._old, self._young, self._young_nbytes = self._young, {}, 0


def _rebuild(objects: ObjectStore, cache_nbytes: int, boundary: Boundary) -> Nodes:
    return Nodes(objects, cache_nbytes=cache_nbytes, boundary=boundary)
