"""Files that a writer of packs left behind when it died."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from typing import TYPE_CHECKING

from tensorvcs.errors import StorageError
from tensorvcs.storage.durable import step
from tensorvcs.storage.hdf5_pack import TEMPORARY_PREFIX

if TYPE_CHECKING:
    from pathlib import Path

    from tensorvcs.storage.pack_index import PackIndex


def remove_orphans(folder: Path, index: PackIndex) -> int:
    """Remove the files of packs that are not in the index; return how many.

    A file whose writer lives, in this or another process, is locked and left alone.

    Parameters
    ----------
    folder : Path
        Of the packs; it need not be there.
    index : PackIndex

    Raises
    ------
    StorageError
        The system refused.
    """
    removed = 0
    if not folder.is_dir():
        return 0
    try:
        for path in sorted(folder.glob("*.h5")):
            name = path.stem.removeprefix(TEMPORARY_PREFIX)
            is_temporary = path.stem.startswith(TEMPORARY_PREFIX)
            with suppress(ValueError, FileNotFoundError):
                pack_id = bytes.fromhex(name)
                if is_temporary or not index.has_pack(pack_id):
                    removed += _remove(path, None if is_temporary else pack_id, index)
    except OSError as error:
        raise StorageError(f"cannot remove orphans: {error}") from error
    return removed


def _remove(path: Path, pack_id: bytes | None, index: PackIndex) -> bool:
    """Remove a file unless its writer lives; `pack_id` is None for a temporary one."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # Its writer may have added the record, then released it, since we looked.
        if pack_id is not None and index.has_pack(pack_id):
            return False
        path.unlink()
        step("orphan removed")
        return True
