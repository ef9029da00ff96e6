"""Valid encodings of every kind that a repository holds or sends."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import lmdb

from tests.format import every_kind


@dataclass(frozen=True, slots=True)
class Samples:
    """The entries of the databases of a repository with every kind of column.

    Attributes
    ----------
    objects, refs, operations, packs, loose : dict of bytes to bytes
    pack_files : dict of bytes to bytes
        The content of the pack files, by pack id.
    """

    objects: dict[bytes, bytes]
    refs: dict[bytes, bytes]
    operations: dict[bytes, bytes]
    packs: dict[bytes, bytes]
    loose: dict[bytes, bytes]
    pack_files: dict[bytes, bytes]

    def objects_of(self, kind: bytes) -> list[bytes]:
        return sorted(c for c in self.objects.values() if c.startswith(kind + b" "))


@cache
def samples() -> Samples:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "repo" / ".tensorvcs"
        with every_kind.make(root.parent, is_packed=False) as repo:
            loose = _entries(root)["loose"]
            repo.repack()
        found = _entries(root)
        found["packs"].pop(b"version")
        files = {bytes.fromhex(p.stem): p.read_bytes() for p in (root / "packs").glob("*.h5")}
    return Samples(**{**found, "loose": loose}, pack_files=files)


def _entries(root: Path) -> dict[str, dict[bytes, bytes]]:
    found = {}
    # A copy, since one process cannot open an environment twice.
    with tempfile.TemporaryDirectory() as copy:
        (Path(copy) / "data.mdb").write_bytes((root / "lmdb" / "data.mdb").read_bytes())
        environment = lmdb.open(copy, max_dbs=16, readonly=True, lock=False)
        for name in ("objects", "refs", "operations", "packs", "loose"):
            database = environment.open_db(name.encode(), create=False)
            with environment.begin(db=database) as txn:
                found[name] = dict(txn.cursor())
        environment.close()
    return found
