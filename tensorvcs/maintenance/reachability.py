"""What refs, the operation log and other objects reach: the opposite of garbage.

Objects are told by their first bytes and not by who names them, so that a walk may begin anywhere:
at a commit, at a snapshot of the staging area, or at a leaf that a transfer left. A leaf whose
values are 32 bytes wide is taken to name values; where they are inline, these names fit nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import ObjectDamagedError, ObjectNotFoundError, with_hint
from tensorvcs.history.snapshot import decode_snapshot
from tensorvcs.objects.commit import CommitObject, TagObject
from tensorvcs.objects.digest import DIGEST_NBYTES, array_to_digests, digests_to_array
from tensorvcs.objects.encoding import decode_object
from tensorvcs.objects.sorted_digests import DigestSet, PrefixSet, sort_digests
from tensorvcs.tree.node import MAGIC, Node

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import ObjectStore

_LOAD_OBJECTS = 512
_NAMED = re.compile(rb"(?<![0-9a-f])[0-9a-f]{%d}(?![0-9a-f])" % (2 * DIGEST_NBYTES))
_NOTHING = np.zeros((0, DIGEST_NBYTES), np.uint8)


class Reached:
    """Objects and values that were met on walks.

    Attributes
    ----------
    objects : DigestSet
    values : PrefixSet
        By their first 8 bytes, so that ten million of them take 80 MB; what is not among them is
        certainly not reached.
    """

    def __init__(self) -> None:
        self.objects = DigestSet()
        self.values = PrefixSet()

    def walk(
        self,
        store: ObjectStore,
        starts: Iterable[bytes] | NDArray[np.uint8],
        *,
        allow_absent: bool,
        beyond: Reached | None = None,
    ) -> None:
        """Meet all that some objects name, and what that names.

        Parameters
        ----------
        starts : iterable of bytes, or ndarray, shape (n, 32), uint8
        allow_absent : bool
            Whether objects may be absent, with what they would name.
        beyond : Reached, optional
            The walk ends at what this has met.

        Raises
        ------
        ObjectNotFoundError
            An object is absent that may not be: the repository is damaged.
        DigestMismatchError, ObjectDamagedError, UnsupportedFormatError
            An object cannot be read, so that nobody knows what it names.

        Notes
        -----
        Reads each object once. Memory is about 50 bytes an object and 8 bytes a value, beside the
        children of the nodes on the way.
        """
        found = starts if isinstance(starts, np.ndarray) else digests_to_array(list(starts))
        queue = [found]
        while queue:
            batch = queue.pop()
            if len(batch) > _LOAD_OBJECTS:
                queue.append(batch[_LOAD_OBJECTS:])
                batch = batch[:_LOAD_OBJECTS]
            fresh = self._fresh(batch, beyond)
            if len(fresh):
                self.objects.add(fresh)
                queue += self._read(store, array_to_digests(fresh), allow_absent=allow_absent)

    def _fresh(self, digests: NDArray[np.uint8], beyond: Reached | None) -> NDArray[np.uint8]:
        """Return those digests that were not met, each once."""
        ranked = sort_digests(digests)
        is_known = self.objects.contains(ranked) | ranked.is_repeat()
        if beyond is not None:
            is_known |= beyond.objects.contains(ranked)
        return ranked.digests[~is_known]

    def _read(
        self, store: ObjectStore, digests: list[bytes], *, allow_absent: bool
    ) -> list[NDArray[np.uint8]]:
        """Take the values that some objects name, and return the objects that they name."""
        absent = set(store.missing(digests))
        if absent and not allow_absent:
            raise with_hint(
                ObjectNotFoundError(
                    f"object {min(absent).hex()} is needed and not in the repository, which is "
                    "damaged; nothing is taken for garbage before it is mended"
                ),
                "run 'tvcs verify' to see everything that is damaged",
            )
        named: list[NDArray[np.uint8]] = []
        for content in store.get([digest for digest in digests if digest not in absent]):
            objects, values = named_by(content)
            if len(objects):
                named.append(objects)
            if len(values):
                self.values.add(values)
        return [np.concatenate(named)] if named else []


def named_by(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the digests of the objects and of the values that an object names, (n, 32) each.

    Raises
    ------
    ObjectDamagedError, UnsupportedFormatError
        It is no object of a kind that is known.
    """
    if content.startswith(MAGIC):
        node = Node(content)
        if node.level:
            return node.children, _NOTHING
        return _NOTHING, node.values if node.value_nbytes == DIGEST_NBYTES else _NOTHING
    kind = content[: content.find(b" ")]
    if kind == b"commit":
        commit = CommitObject.decode(content)
        return digests_to_array([commit.snapshot, *commit.parents]), _NOTHING
    if kind == b"snapshot":
        trees = [state.tree for state in decode_snapshot(content).values()]
        roots = [root.digest for tree in trees for root in (tree.ints, tree.texts) if root]
        return digests_to_array(list(roots)), _NOTHING
    if kind == b"tag":
        return digests_to_array([TagObject.decode(content).commit]), _NOTHING
    if kind == b"merge":
        return digests_to_array(_named_by_merge(content)), _NOTHING
    raise ObjectDamagedError(f"an object of an unknown kind is stored: {content[:20]!r}")


def _named_by_merge(content: bytes) -> list[bytes]:
    fields = decode_object(content, "merge", 1)
    try:
        texts = [fields["intent"]["head"], fields["intent"]["theirs"]]
        return [bytes.fromhex(text) for text in (*texts, *fields["snapshots"].values())]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ObjectDamagedError(f"a merge in progress cannot be read: {error}") from error


def digests_in(record: bytes) -> list[bytes]:
    """Return all digests that stand in the value of a ref, or in a record of the operation log."""
    return [bytes.fromhex(text.decode()) for text in _NAMED.findall(record)]
