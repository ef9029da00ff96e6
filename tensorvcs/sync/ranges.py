"""Ranges of bytes of one file, wherever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tensorvcs.errors import ObjectDamagedError, with_hint

if TYPE_CHECKING:
    from collections.abc import Sequence

Range = tuple[int, int]
"""Where a range starts, and its bytes."""


class RangedFile(Protocol):
    """A file that is read by ranges: on a disk, or in a bucket."""

    @property
    def name(self) -> str:
        """What errors call it."""
        ...

    @property
    def nbytes(self) -> int:
        """The size of the file."""
        ...

    def read(self, ranges: Sequence[Range]) -> list[memoryview]:
        """Return ranges that lie within the file, in the order asked for."""
        ...


def damaged(file: RangedFile, problem: str) -> ObjectDamagedError:
    """Return the error of a file whose content cannot be right."""
    return with_hint(
        ObjectDamagedError(f"{file.name} is damaged: {problem}"),
        "get the file again from where it came; 'tvcs bundle verify' checks all of a bundle",
    )


def checked_range(file: RangedFile, start: int, nbytes: int, what: str) -> Range:
    """Return a range that was read from the file itself, once it lies within the file.

    Raises
    ------
    ObjectDamagedError
        It does not.
    """
    if start < 0 or nbytes < 0 or start + nbytes > file.nbytes:
        raise damaged(
            file, f"{what} would be at bytes {start} to {start + nbytes} of {file.nbytes}"
        )
    return start, nbytes
