"""Stretches of a mapped file, each checked against its checksum at its first touch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xxhash

from tensorvcs.errors import CorruptionError, SlabChecksumError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.pack_index import Blocks

_NAMED_DIGESTS = 3


class MappedFile(Protocol):
    """A file in memory, of which a touch may fail."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def view(self) -> memoryview:
        """Its bytes."""
        ...

    def check_length(self) -> None:
        """Raise PackDamagedError when it was cut since it was mapped."""
        ...

    def bring_in(self, start: int, nbytes: int) -> None:
        """Read a stretch into memory; PackDamagedError when the disk does not give it."""
        ...


class CheckedBlocks:
    """Stretches of a pack, each checked at its first touch."""

    def __init__(
        self,
        pack: MappedFile,
        blocks: Blocks,
        name: str,
        names_in: Callable[[int], NDArray[np.uint8]] | None = None,
    ) -> None:
        self.blocks = blocks
        self.is_verified = np.zeros(len(blocks), np.bool_)
        self.are_all_verified = not len(blocks)
        self._pack = pack
        self._name = name
        self._names_in = names_in

    def __len__(self) -> int:
        return len(self.blocks)

    def forget(self) -> None:
        """Check everything anew at its next touch."""
        self.is_verified[:] = False
        self.are_all_verified = not len(self.blocks)

    def ensure(self, block: int) -> None:
        """Check one block.

        Raises
        ------
        SlabChecksumError
            It does not have its checksum.
        PackDamagedError
            The file was cut.
        """
        if not self.is_verified[block]:
            self._check(block)
            self.are_all_verified = bool(self.is_verified.all())

    def _check(self, block: int) -> None:
        pack, blocks = self._pack, self.blocks
        pack.check_length()
        start, size = int(blocks.starts[block]), int(blocks.sizes[block])
        pack.bring_in(start, size)
        found = xxhash.xxh3_64_intdigest(pack.view[start : start + size])
        if found != blocks.checks[block]:
            raise self._damage(block, found)
        self.is_verified[block] = True

    def ensure_many(self, blocks: NDArray[np.integer[Any]]) -> None:
        """Check several blocks, given with repeats and in any order."""
        if self.are_all_verified or self.is_verified[blocks].all():
            return
        for block in np.unique(blocks[~self.is_verified[blocks]]).tolist():
            self._check(block)
        self.are_all_verified = bool(self.is_verified.all())

    def ensure_all(self) -> None:
        """Check every block."""
        if not self.are_all_verified:
            self.ensure_many(np.arange(len(self.blocks)))

    def ensure_range(self, low: int, high: int) -> None:
        """Check the blocks that hold the bytes from `low` to `high` of an array of numbers."""
        if not self.are_all_verified and low < high:
            size = int(self.blocks.sizes[0])
            for block in range(low // size, (high - 1) // size + 1):
                self.ensure(block)

    def _damage(self, block: int, found: int) -> SlabChecksumError:
        text = (
            f"pack {self._pack.path.name}, {self._name} {block} does not have its checksum: "
            f"found {found:016x}, expected {int(self.blocks.checks[block]):016x}"
        )
        if self._names_in is None:
            return SlabChecksumError(text)
        try:
            names = self._names_in(block)
        except CorruptionError:
            return SlabChecksumError(text)
        digests = [digest.tobytes() for digest in names if digest.any()]
        text += f"; it holds {len(names)} samples"
        shown = ", ".join(digest.hex()[:12] for digest in digests[:_NAMED_DIGESTS])
        more = ", …" if len(digests) > _NAMED_DIGESTS else ""
        return SlabChecksumError(f"{text}: {shown}{more}", tuple(digests))
