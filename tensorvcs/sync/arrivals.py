"""Objects that arrive from elsewhere: what they are, and what they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.history.snapshot import decode_snapshot
from tensorvcs.objects.commit import CommitObject, TagObject
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.tree.node import check_node

if TYPE_CHECKING:
    from tensorvcs.tree.boundary import Boundary


def named_by(content: bytes, boundary: Boundary) -> set[bytes]:
    """Return the digests of the objects that an object names.

    Those of the values of a leaf are not among them: a leaf does not tell whether it has values
    or their names.

    Raises
    ------
    ObjectDamagedError
        It is no node, snapshot, commit or tag, or is not in its canonical spelling.
    UnsupportedFormatError
        It is one of a newer version.
    """
    kind = content[: content.find(b" ")]
    if kind == b"node":
        node = check_node(content, boundary)
        return set(array_to_digests(node.children)) if node.level else set()
    if kind == b"snapshot":
        trees = [state.tree for state in decode_snapshot(content).values()]
        return {root.digest for tree in trees for root in (tree.ints, tree.texts) if root}
    if kind == b"commit":
        commit = CommitObject.decode(content)
        return {commit.snapshot, *commit.parents}
    if kind == b"tag":
        return {TagObject.decode(content).commit}
    raise ObjectDamagedError(f"an object of an unknown kind arrived: {content[:20]!r}")
