"""Copy commits, and what they need, from one repository's stores to another's.

Fetch, push, clone and bundle are this function with its ends swapped. What is put is always
whole: values before the leaves that name them, leaves before inner nodes, nodes before snapshots,
snapshots before commits, parents before children. So what the destination has needs no second
look, a transfer that was cut off goes on where it stopped, and at any moment both ends are
correct. Refs are moved by the caller, last.

A partial clone weakens this on purpose. There a snapshot may be without the trees of some columns,
or, beyond a depth, of all; and a node that was fetched because it was read may be without its
children. So in a partial clone a node that is there says nothing of those below it. What is absent
is found out by whoever reads it, and by `transfer_trees` when it is told to be thorough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.history.ancestry import read_commits
from tensorvcs.history.snapshot import decode_snapshot
from tensorvcs.objects.commit import CommitObject, TagObject
from tensorvcs.objects.digest import CommitDigest, array_to_digests
from tensorvcs.tree.entries import keys_of
from tensorvcs.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.keys import Keys
    from tensorvcs.storage.interfaces import Stores

# Questions and answers are batched: so many digests are asked about at a time.
_ASK_DIGESTS = 8192
_ASK_VALUES = 32768
_GET_OBJECTS = 512
_COMMITS = 256
# Payload that is sealed together, so that packs come out large, with the leaves that name it.
_SEAL_NBYTES = 256 << 20
_SEAL_LEAVES = 8192
# Payload up to this size becomes no pack, and is sealed inside the transaction of the objects.
_SMALL_NBYTES = 1 << 20

T = TypeVar("T")


class Payload(Protocol):
    """Which columns, and which values of them, a transfer takes."""

    @property
    def depth(self) -> int | None:
        """Of how many of the newest commits the trees are taken; None for all."""
        ...

    def takes_column(self, column: str) -> bool:
        """Tell whether the tree of a column is taken."""
        ...

    def choose(self, column: str, keys: Keys, *, nested: bool) -> NDArray[np.bool_] | None:
        """Tell which values of a leaf are taken, shape (n,); None for all of them.

        `keys` has keys of one sort, n of them; composite ones when the column is nested.
        """
        ...


@dataclass(slots=True)
class Transferred:
    """What a transfer has moved so far.

    Attributes
    ----------
    commit_count, object_count, value_count : int
        Commits; all objects, commits and nodes among them; values.
    object_nbytes, value_nbytes : int
        Their bytes, values as they are stored.
    """

    commit_count: int = 0
    object_count: int = 0
    value_count: int = 0
    object_nbytes: int = 0
    value_nbytes: int = 0

    @property
    def nbytes(self) -> int:
        """All bytes moved."""
        return self.object_nbytes + self.value_nbytes

    def __add__(self, other: Transferred) -> Transferred:
        return Transferred(
            self.commit_count + other.commit_count,
            self.object_count + other.object_count,
            self.value_count + other.value_count,
            self.object_nbytes + other.object_nbytes,
            self.value_nbytes + other.value_nbytes,
        )


Progress = Callable[[Transferred], None]


def transfer(
    source: Stores,
    destination: Stores,
    commits: Iterable[CommitDigest],
    *,
    tags: Sequence[bytes] = (),
    payload: Payload | None = None,
    whole: Collection[CommitDigest] | None = None,
    progress: Progress | None = None,
) -> Transferred:
    """Copy commits with their history, and annotated tags, to where they are missing.

    Parameters
    ----------
    source, destination : Stores
        Their refs are neither read nor changed.
    commits : iterable of CommitDigest
        With all their ancestors that the destination lacks.
    tags : sequence of bytes
        Digests of tag objects; their commits are taken as well.
    payload : Payload, optional
        What a partial clone takes; everything when omitted.
    whole : collection of CommitDigest, optional
        The commits whose trees and values are taken, those that `newest_commits` gives for the
        depth of the payload; all when omitted.
    progress : callable, optional
        Called with what was moved so far, after each batch.

    Returns
    -------
    Transferred

    Raises
    ------
    ObjectNotFoundError
        The source lacks something, and so does the destination.
    DigestMismatchError
        The source gave something else than was asked for; nothing of it was kept.

    Notes
    -----
    Asks level by level, thousands of digests at a time. Holds the commits and the inner nodes
    that are new, about a hundredth of the leaves, and one seal of payload.
    """
    run = _Transfer(source, destination, payload, progress, whole)
    tag_objects = source.objects.get(list(run.missing(tags)))
    targets = [TagObject.decode(content).commit for content in tag_objects]
    for chunk in _batches(run.missing_commits([*commits, *targets]), _COMMITS):
        run.copy_commits(chunk)
    if tag_objects:
        run.put(tag_objects)
    run.report()
    return run.moved


def transfer_trees(
    source: Stores,
    destination: Stores,
    commits: Iterable[tuple[CommitDigest, CommitObject]],
    *,
    payload: Payload | None = None,
    is_thorough: bool = False,
    progress: Progress | None = None,
) -> Transferred:
    """Copy the trees and values of commits that the destination has, as a partial clone may.

    Parameters
    ----------
    commits : iterable of (CommitDigest, CommitObject)
    payload : Payload, optional
        As for `transfer`; its depth does not count.
    is_thorough : bool
        Whether to look below nodes that are there: reading may have fetched these alone.

    Notes
    -----
    Without `is_thorough` it asks for the roots only where all is there; with it, all nodes of the
    commits are read. Raises what `transfer` does.
    """
    run = _Transfer(source, destination, payload, progress, is_thorough=is_thorough)
    for chunk in _batches(commits, _COMMITS):
        digests = list(dict.fromkeys(commit.snapshot for _, commit in chunk))
        leaves, inner = run.copy_trees(run.roots_of(destination.objects.get(digests)))
        if leaves or inner or destination.tensors.unsealed_nbytes:
            run.seal(leaves, *(inner[level] for level in sorted(inner)))
    return run.moved


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node is met: the columns, and what its values are."""

    columns: tuple[str, ...]
    is_text: bool
    value_nbytes: int
    is_inline: bool
    nested: bool

    def joined(self, other: _Place) -> _Place:
        """Return the place of a node that is met in the columns of both."""
        if set(other.columns) <= set(self.columns):
            return self
        columns = (*self.columns, *(c for c in other.columns if c not in self.columns))
        return replace(self, columns=columns, is_inline=self.is_inline and other.is_inline)


_Edge = dict[bytes, _Place]


def _meet(edge: _Edge, digest: bytes, place: _Place) -> None:
    known = edge.get(digest)
    edge[digest] = place if known is None else known.joined(place)


@dataclass(slots=True)
class _Transfer:
    source: Stores
    destination: Stores
    payload: Payload | None
    progress: Progress | None
    whole: Collection[CommitDigest] | None = None
    is_thorough: bool = False
    moved: Transferred = field(default_factory=Transferred)
    seen: set[bytes] = field(default_factory=set)

    def report(self) -> None:
        if self.progress is not None:
            self.progress(self.moved)

    def missing(self, digests: Iterable[bytes]) -> Iterator[bytes]:
        """Yield those digests, each once, that the destination lacks."""
        for batch in _batches(dict.fromkeys(digests), _ASK_DIGESTS):
            yield from self.destination.objects.missing(batch)

    def put(self, contents: Sequence[bytes]) -> None:
        self.destination.objects.put(contents)
        self.moved.object_count += len(contents)
        self.moved.object_nbytes += sum(map(len, contents))

    def seal(self, *groups: Sequence[bytes]) -> None:
        """Make what was taken durable, then groups of objects, one behind the other."""
        tensors = self.destination.tensors
        if tensors.unsealed_nbytes > _SMALL_NBYTES:
            tensors.seal()
        with self.destination.transaction():
            tensors.seal()
            for contents in groups:
                if contents:
                    self.put(contents)
        self.report()

    # Commits

    def missing_commits(
        self, starts: Iterable[CommitDigest]
    ) -> list[tuple[CommitDigest, CommitObject]]:
        """Return the commits that the destination lacks, parents before children."""
        found: dict[CommitDigest, CommitObject] = {}
        edge = [CommitDigest(digest) for digest in self.missing(starts)]
        while edge:
            found.update(zip(edge, read_commits(self.source.objects, edge), strict=True))
            parents = (p for digest in edge for p in found[digest].parents if p not in found)
            edge = [CommitDigest(digest) for digest in self.missing(parents)]
        return sorted(found.items(), key=lambda item: item[1].generation)

    def copy_commits(self, commits: Sequence[tuple[CommitDigest, CommitObject]]) -> None:
        """Copy some commits, whose parents are there or among them."""
        snapshots: list[bytes] = list(self.missing(commit.snapshot for _, commit in commits))
        contents = self.source.objects.get(snapshots)
        to_decode = contents
        if self.whole is not None:
            # A snapshot may be there, of an older commit, without its trees.
            named = dict(zip(snapshots, contents, strict=True))
            wanted = dict.fromkeys(c.snapshot for digest, c in commits if digest in self.whole)
            there = [digest for digest in wanted if digest not in named]
            named.update(zip(there, self.source.objects.get(there), strict=True))
            to_decode = [named[digest] for digest in wanted]
        leaves, inner = self.copy_trees(self.roots_of(to_decode))
        self.seal(
            leaves,
            *(inner[level] for level in sorted(inner)),
            contents,
            [commit.encode() for _, commit in commits],
        )
        self.moved.commit_count += len(commits)
        self.report()

    # Trees

    def roots_of(self, snapshots: Iterable[bytes]) -> _Edge:
        """Return the roots of those columns of some snapshots that are taken."""
        roots: _Edge = {}
        for content in snapshots:
            for name, state in decode_snapshot(content).items():
                if self.payload is not None and not self.payload.takes_column(name):
                    continue
                for root, is_text in ((state.tree.ints, False), (state.tree.texts, True)):
                    if root is not None:
                        schema, width = state.schema, state.tree.value_nbytes
                        place = _Place((name,), is_text, width, schema.is_inline, schema.nested)
                        _meet(roots, root.digest, place)
        return roots

    def copy_trees(self, roots: _Edge) -> tuple[list[bytes], dict[int, list[bytes]]]:
        """Copy leaves with their values; return the last leaves, and the inner nodes by level."""
        inner: dict[int, list[bytes]] = {}
        edges: dict[int, _Edge] = {}
        leaves = _Leaves(self)

        def sort_in(node: Node, place: _Place, *, is_new: bool) -> None:
            if node.level == 0:
                leaves.add(node, place, is_new=is_new)
                return
            if is_new:
                inner.setdefault(node.level, []).append(node.content)
            edge = edges.setdefault(node.level - 1, {})
            for child in array_to_digests(node.children):
                _meet(edge, child, place)

        for node, place, is_new in self.nodes(roots):
            sort_in(node, place, is_new=is_new)
        while edges:
            level = max(edges)
            for node, place, is_new in self.nodes(edges.pop(level), level):
                sort_in(node, place, is_new=is_new)
        return leaves.rest(), inner

    def nodes(self, edge: _Edge, level: int | None = None) -> Iterator[tuple[Node, _Place, bool]]:
        """Yield nodes, each checked to fit its place, and whether the destination lacks them.

        Those that it has come only in a thorough transfer, each once.
        """
        for batch, is_new in self.batches(edge):
            store = self.source if is_new else self.destination
            for digest, content in zip(batch, store.objects.get(batch), strict=True):
                node, place = Node(content), edge[digest]
                found = (node.is_text, node.value_nbytes, node.level if level is None else level)
                if found != (place.is_text, place.value_nbytes, node.level):
                    raise ObjectDamagedError(
                        f"node {digest.hex()} of level {node.level} with values of "
                        f"{node.value_nbytes} bytes does not fit what names it"
                    )
                yield node, place, is_new

    def batches(self, edge: _Edge) -> Iterator[tuple[list[bytes], bool]]:
        """Yield those nodes of an edge that are to be read, and whether they are missing."""
        if not self.is_thorough:
            for batch in _batches(self.missing(edge), _GET_OBJECTS):
                yield batch, True
            return
        fresh = [digest for digest in edge if digest not in self.seen]
        self.seen.update(fresh)
        for batch in _batches(fresh, _GET_OBJECTS):
            absent = self.destination.objects.missing(batch)
            there = set(batch).difference(absent)
            yield absent, True
            yield [digest for digest in batch if digest in there], False


class _Leaves:
    """Leaves that wait for their values, so that both are put together."""

    def __init__(self, run: _Transfer) -> None:
        self._run = run
        self._contents: list[bytes] = []
        self._asked: list[NDArray[np.uint8]] = []
        self._asked_count = 0

    def add(self, leaf: Node, place: _Place, *, is_new: bool) -> None:
        """Take a leaf, to be put when it is new; its values are fetched with those of the next."""
        if is_new:
            self._contents.append(leaf.content)
        if not place.is_inline:
            wanted = self._chosen(leaf, place)
            self._asked.append(wanted)
            self._asked_count += len(wanted)
        is_full = len(self._contents) >= _SEAL_LEAVES
        if not is_full and self._asked_count < _ASK_VALUES:
            return
        self._fetch()
        if is_full or self._run.destination.tensors.unsealed_nbytes >= _SEAL_NBYTES:
            self._run.seal(self._contents)
            self._contents = []

    def rest(self) -> list[bytes]:
        """Fetch what is asked for, and return the leaves that wait for the next seal."""
        self._fetch()
        return self._contents

    def _chosen(self, leaf: Node, place: _Place) -> NDArray[np.uint8]:
        payload, values = self._run.payload, leaf.values
        if payload is None:
            return values
        is_chosen = np.zeros(len(values), np.bool_)
        keys = keys_of(leaf.keys, is_text=leaf.is_text)
        for column in place.columns:
            chosen = payload.choose(column, keys, nested=place.nested)
            if chosen is None:
                return values
            is_chosen |= chosen
        return values[is_chosen]

    def _fetch(self) -> None:
        """Take the values that are asked for and not there."""
        asked, self._asked, self._asked_count = self._asked, [], 0
        if not asked:
            return
        run, digests = self._run, np.concatenate(asked)
        absent = digests[~run.destination.tensors.contains(digests)]
        if not len(absent):
            return
        for part in run.source.tensors.stored(absent):
            run.destination.tensors.take(part)
            run.moved.value_count += len(part)
            run.moved.value_nbytes += len(part.data)
            run.report()
            # Values alone may be kept: a cut then loses no more than one seal of them.
            if run.destination.tensors.unsealed_nbytes >= _SEAL_NBYTES:
                run.destination.tensors.seal()
