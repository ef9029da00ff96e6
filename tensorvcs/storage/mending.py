"""Mending: put what is damaged back in order, with values that come from elsewhere.

A sealed pack is never changed. What is whole of a damaged one is written to a new pack, what is not
is taken from another repository, and when both are durable one transaction takes the damaged pack
out of the index. A crash before that leaves values twice, after it the damaged file alone, which is
kept under the name ``damaged-<pack id>.h5``.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import CorruptionError, PackDamagedError
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.storage.durable import refusal, step
from tensorvcs.storage.hdf5_pack import TEMPORARY_PREFIX, SealedPack
from tensorvcs.storage.interfaces import TensorStore
from tensorvcs.storage.mapped_pack import MappedPack
from tensorvcs.storage.pack_rewrite import salvage_pack, wrong_digests

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.pack_index import PackRecord

Rescue = Callable[[TensorStore, "NDArray[np.uint8]"], "NDArray[np.bool_]"]
"""Has a store take values by digest, shape (n, 32), and tells for each whether it came."""


@dataclass(slots=True)
class Mended:
    """What was mended, and what stays broken.

    Attributes
    ----------
    packs : list of str
        The files of packs that were written anew.
    value_count : int
        Values that came from elsewhere.
    lost : list of bytes
        Digests of values that were in what was damaged, and did not come.
    unopened : list of bytes
        The ids of packs that are left as they are, since nobody knows all that is lost with them:
        they cannot be opened, or their directory is damaged as well.
    """

    packs: list[str] = field(default_factory=list)
    value_count: int = 0
    lost: list[bytes] = field(default_factory=list)
    unopened: list[bytes] = field(default_factory=list)

    @property
    def is_anything(self) -> bool:
        """Whether anything was mended."""
        return bool(self.packs or self.value_count)

    def add(self, part: Mended) -> None:
        """Add what was mended besides."""
        self.packs += part.packs
        self.value_count += part.value_count
        self.lost += part.lost
        self.unopened += part.unopened


def is_damaged(pack: MappedPack) -> bool:
    """Tell whether anything is wrong with a pack; reads all of it, and hashes every value."""
    return next(chain(pack.problems(), wrong_digests(pack)), None) is not None


def open_damaged(folder: Path, record: PackRecord) -> tuple[MappedPack | None, bool]:
    """Open a pack for what can be salvaged of it.

    Returns
    -------
    pack : MappedPack or None
        None where there is no file, or the disk does not give it. Of a file that has another
        size than it was sealed with a copy is mapped, cut or filled with zeros.
    is_readable : bool
        Whether the pack can be read where it is, so that values beside the damage are not lost.
    """
    path = folder / record.file_name
    try:
        return MappedPack(path, record), True
    except PackDamagedError:
        if not path.is_file():
            return None, False
    copy = folder / f"{TEMPORARY_PREFIX}{os.urandom(16).hex()}.h5"
    try:
        with copy.open("xb") as file, path.open("rb") as damaged:
            # Locked, so that nobody takes it for what a dead writer left.
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            shutil.copyfileobj(damaged, file, 1 << 20)
            file.truncate(record.file_nbytes)
            # What is mapped must have its place: a hole ends the process on a full disk.
            os.posix_fallocate(file.fileno(), 0, record.file_nbytes)
            file.flush()
            return MappedPack(copy, record), False
    except CorruptionError:
        return None, False
    except OSError as error:
        raise refusal(f"cannot salvage pack {path.name}", error) from error
    finally:
        copy.unlink(missing_ok=True)


def renew_pack(
    folder: Path,
    record: PackRecord,
    rescue: Rescue | None,
    writer: TensorStore,
    replace: Callable[[SealedPack | None], bool],
    *,
    is_wanted: bool = False,
) -> Mended:
    """Write a damaged pack anew, with what another repository has of what is lost.

    Nothing is changed when nothing would be gained: then the pack goes on to say what is damaged.
    With `is_wanted` the pack is replaced in any case: nothing that is lost with it is missed.

    Parameters
    ----------
    folder : Path
        Of the packs.
    record : PackRecord
    rescue : callable, optional
    writer : TensorStore
        Takes the values that come, also those that this pack claims to have.
    replace : callable
        Put a new pack, or nothing, in place of this one in the index; False when it is gone.

    Raises
    ------
    StorageError
        The disk refused; the pack is as it was.

    Notes
    -----
    Reads the pack twice and writes it once.
    """
    pack, is_readable = open_damaged(folder, record)
    if pack is None:
        return Mended(unopened=[record.pack_id])
    sealed, lost, unnamed_count = salvage_pack(folder, pack)
    came = np.zeros(len(lost), np.bool_)
    is_better = False
    try:
        if len(lost) and rescue is not None:
            came = rescue(writer, lost)
            writer.seal()
        is_better = (
            is_wanted
            or bool(came.any())
            or not (len(lost) or unnamed_count)
            or (not is_readable and sealed is not None)
        )
    finally:
        writer.discard()
        if sealed is not None and not is_better:
            sealed.remove()
    mended = Mended(value_count=int(came.sum()), lost=array_to_digests(lost[~came]))
    if not is_better and unnamed_count:
        mended.unopened.append(record.pack_id)
    if is_better and replace(sealed):
        path = folder / record.file_name
        mended.packs.append(path.name)
        put_aside(path)
    return mended


def put_aside(path: Path) -> None:
    """Rename a pack that is no longer in the index, for people to look at; nothing reads it."""
    with suppress(OSError):
        path.rename(path.with_name(f"damaged-{path.name}"))
    step("pack put aside")
