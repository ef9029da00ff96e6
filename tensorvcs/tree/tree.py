"""Tree: the two roots of one column, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.objects.digest import DIGEST_NBYTES, NodeDigest
from tensorvcs.objects.schema import INLINE_NBYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_COUNT = 2**62


@dataclass(frozen=True, slots=True)
class Root:
    """The root node of the keys of one sort.

    Attributes
    ----------
    digest : NodeDigest
    count : int
        Keys below it, at least 1.
    """

    digest: NodeDigest
    count: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A sorted map from keys to values of one width; immutable, equal when the content is.

    Attributes
    ----------
    ints, texts : Root or None
        The keys of each sort; None when there are none.
    value_nbytes : int
        The width of a value, 0 to 64: a digest (32), or an inline value.
    """

    ints: Root | None
    texts: Root | None
    value_nbytes: int

    @classmethod
    def empty(cls, value_nbytes: int) -> Tree:
        """Return the tree without keys."""
        assert 0 <= value_nbytes <= INLINE_NBYTES, value_nbytes
        return cls(None, None, value_nbytes)

    @property
    def int_count(self) -> int:
        """The number of int keys, which is the position of the first text key."""
        return 0 if self.ints is None else self.ints.count

    @property
    def text_count(self) -> int:
        """The number of text keys."""
        return 0 if self.texts is None else self.texts.count

    @property
    def count(self) -> int:
        """The number of keys."""
        return self.int_count + self.text_count

    def to_fields(self) -> dict[str, Any]:
        """Return the fields as JSON values; digests in hexadecimal."""
        return {
            "ints": _root_fields(self.ints),
            "texts": _root_fields(self.texts),
            "value_nbytes": self.value_nbytes,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Tree:
        """Read what `to_fields` wrote.

        Raises
        ------
        ObjectDamagedError
            A field is missing, unknown or not legal.
        """
        if not isinstance(fields, dict) or set(fields) != {"ints", "texts", "value_nbytes"}:
            raise ObjectDamagedError(f"a tree has the fields {_shown(fields)}")
        width = fields["value_nbytes"]
        if type(width) is not int or not 0 <= width <= INLINE_NBYTES:
            raise ObjectDamagedError(
                f"a tree has values of {_shown(width)} bytes; expected 0 to {INLINE_NBYTES}"
            )
        return cls(_root(fields["ints"]), _root(fields["texts"]), width)


def _root_fields(root: Root | None) -> dict[str, Any] | None:
    return None if root is None else {"digest": root.digest.hex(), "count": root.count}


def _root(fields: object) -> Root | None:
    if fields is None:
        return None
    if not isinstance(fields, dict) or set(fields) != {"digest", "count"}:
        raise ObjectDamagedError(f"a tree root has the fields {_shown(fields)}")
    text, count = fields["digest"], fields["count"]
    try:
        digest = bytes.fromhex(text)
    except (TypeError, ValueError):
        digest = b""
    if len(digest) != DIGEST_NBYTES or digest.hex() != text:
        raise ObjectDamagedError(f"a tree root has the digest {_shown(text)}")
    if type(count) is not int or not 1 <= count <= _MAX_COUNT:
        raise ObjectDamagedError(f"a tree root has the count {_shown(count)}")
    return Root(NodeDigest(digest), count)


def _shown(value: object) -> str:
    return repr(value)[:80]
