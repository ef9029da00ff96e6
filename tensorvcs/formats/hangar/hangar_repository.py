"""The files of a Hangar repository, read with Hangar's own code.

Runs in the process that reads Hangar: imports nothing of this package but its neighbours, and
keeps to what Python 3.8 knows. Nothing in the repository is changed; the files are opened for
reading, past Hangar's own start, which opens them for writing and loads its network client.
"""

from __future__ import annotations

import ast
import json
import math
import sys
import types
from contextlib import closing
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from .records import changes, only_gone, records_digest, schemas_of

if TYPE_CHECKING:
    from pathlib import Path

_KEPT_COUNT = 16384
_KEPT_NBYTES = 1024
# Hangar keeps every file open that it has read from, and each commit has files of its own.
_OPEN_FILES = 128


class ReadingError(Exception):
    """What the other end turns into an error of the library: `kind` says into which."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class MissingValueError(Exception):
    """A value whose data is not in the repository, or damaged."""


def load_hangar() -> None:
    """Make the parts of the package ``hangar`` that read data importable.

    Raises
    ------
    ReadingError
        It is not installed, or not whole.
    """
    import importlib.metadata
    import importlib.util

    found = importlib.util.find_spec("hangar")
    if found is None or not found.origin:
        raise ReadingError("package", "the package 'hangar' is not installed")
    # A stand-in for its root, which would load the client for its server: grpc and protobuf.
    root: Any = types.ModuleType("hangar")
    root.__path__ = list(found.submodule_search_locations or ())
    root.__version__ = importlib.metadata.version("hangar")
    sys.modules["hangar"] = root
    try:
        _give_back_names()
        import hangar.backends
        import hangar.records.vcompat  # noqa: F401
    except (ImportError, AttributeError) as error:
        raise ReadingError("package", f"the package 'hangar' does not load: {error}") from error


def _give_back_names() -> None:
    """Give numpy the names back that it has dropped since Hangar was frozen."""
    import numpy

    types_of_numbers = {numpy.dtype(code).num: numpy.dtype(code).type for code in "?bBhHiIlLqQefd"}
    dropped = {"math": math, "typeDict": types_of_numbers, "bool": numpy.bool_}
    for name, value in dropped.items():
        if not hasattr(numpy, name):
            setattr(numpy, name, value)


class HangarRepository:
    """The files of a Hangar repository, open for reading."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._commits = self._open("ref.lmdb")
        self._hashes = self._open("hash.lmdb")
        self._branches = self._open("branch.lmdb")
        self._accessors: dict[Any, Any] = {}
        self._open_files: set[tuple[str, str]] = set()
        # The records of the last few commits: the next one is compared with one of them.
        self._records: dict[str, bytes] = {}
        # Small values that were read, by digest: labels come again and again.
        self._kept: dict[bytes, Any] = {}

    def _open(self, name: str) -> Any:
        import lmdb

        return lmdb.open(
            str(self._folder / name),
            subdir=False, readonly=True, create=False, lock=False, map_size=50000000000,
        )  # fmt: skip

    def check_version(self) -> None:
        """Raise ReadingError when this Hangar cannot read what the other one wrote."""
        from hangar.records import vcompat

        written = vcompat.get_repository_software_version_spec(self._branches)
        present = vcompat.Version(sys.modules["hangar"].__version__)
        if not vcompat.is_repo_software_version_compatible(written, present):
            raise ReadingError(
                "content",
                f"it was written by Hangar {written}, which Hangar {present} cannot read",
            )

    # History

    def branches(self) -> dict[str, str]:
        """Return the commit digest of each branch that has commits."""
        with self._branches.begin() as txn:
            named = {
                key.decode()[len("branch:") :]: value.decode()
                for key, value in txn.cursor()
                if key.startswith(b"branch:")
            }
        return {name: digest for name, digest in named.items() if digest}

    def head(self) -> str:
        """Return the branch that a writer would change."""
        with self._branches.begin() as txn:
            return (txn.get(b"head") or b"").decode()[len("branch:") :]

    def commit_digests(self) -> list[str]:
        """Return every commit there is, those that no branch reaches as well."""
        with self._commits.begin() as txn, txn.cursor() as cursor:
            keys = [key.decode() for key in cursor.iternext(keys=True, values=False)]
        return [key for key in keys if ":" not in key]

    def commit(self, digest: str) -> dict[str, Any]:
        """Return the parents of a commit, and who made it, when and why."""
        parents, spec, _ = self._commit_parts(digest)
        fields = json.loads(spec)
        return {
            "type": "commit",
            "commit": digest,
            "parents": [parent for parent in parents.decode().split(" << ") if parent],
            "time": fields["commit_time"],
            "message": fields["commit_message"],
            "user": fields["commit_user"],
            "email": fields["commit_email"],
        }

    def _commit_parts(self, digest: str) -> tuple[bytes, bytes, bytes]:
        import blosc

        with self._commits.begin() as txn:
            parts = [txn.get((digest + end).encode()) for end in ("", ":spec", ":ref")]
        if any(part is None for part in parts):
            raise ReadingError("content", f"commit {digest} is not there, or not whole")
        return parts[0], blosc.decompress(parts[1]), parts[2]

    def records(self, digest: str) -> bytes:
        """Return the records of a commit, checked against its digest."""
        import blosc

        if digest not in self._records:
            parents, spec, packed = self._commit_parts(digest)
            records: bytes = blosc.decompress(packed)
            digests = [blake2b(part, digest_size=20).hexdigest() for part in (parents, spec)]
            joined = "".join(sorted([*digests, records_digest(records)])).encode()
            found = "a=" + blake2b(joined, digest_size=20).hexdigest()
            if found != digest:
                raise ReadingError("content", f"commit {digest} is damaged: it hashes to {found}")
            self._records[digest] = records
        return self._records[digest]

    def keep_records_of(self, digests: list[str]) -> None:
        """Forget the records of all other commits."""
        self._records = {name: held for name, held in self._records.items() if name in digests}

    def staged_count(self) -> int:
        """Return how many records differ between the staging area and the commit under it."""
        head = self.branches().get(self.head(), "")
        with closing(self._open("stage_ref.lmdb")) as staging, staging.begin() as txn:
            staged = [b" ".join(item) for item in txn.cursor()]
        if not staged:
            return 0  # no writer was ever opened
        committed = self.records(head) if head else b""
        found = changes(committed, b"$".join(staged), set())
        return sum(len(only_gone(gone, come)) + len(come) for gone, come in found)

    # Columns

    def columns(self, digest: str) -> dict[str, dict[str, Any]]:
        """Return the schema of each column of a commit; {} for no commit."""
        if not digest:
            return {}
        found = {}
        with self._hashes.begin() as txn:
            for name, (layout, schema) in schemas_of(self.records(digest)).items():
                written = txn.get(("s:" + schema).encode())
                if written is None:
                    raise ReadingError(
                        "content", f"the schema of column {name!r} of commit {digest} is lost"
                    )
                fields = ast.literal_eval(written.decode())
                found[name] = {
                    "kind": fields["column_type"],
                    "nested": layout == "n",
                    "variable_shape": fields["schema_type"] == "variable_shape",
                    "dtype": fields["dtype"],
                    "shape": list(fields["shape"]) if "shape" in fields else None,
                }
        return found

    # Values

    def value(self, digest: bytes, schema: dict[str, Any]) -> Any:
        """Return a value by its digest: an array, text or bytes.

        Raises
        ------
        MissingValueError
        """
        if digest in self._kept:
            return self._kept[digest]
        with self._hashes.begin() as txn:
            written = txn.get(b"h:" + digest)
        if written is None:
            raise MissingValueError("Hangar has lost its data")
        if written.startswith(b"50:"):
            raise MissingValueError("its data was never fetched from the remote")
        value = self._read(written, schema)
        if len(value if isinstance(value, (str, bytes)) else value.tobytes()) <= _KEPT_NBYTES:
            if len(self._kept) >= _KEPT_COUNT:
                self._kept.clear()
            self._kept[digest] = value
        return value

    def _read(self, written: bytes, schema: dict[str, Any]) -> Any:
        import lmdb
        from hangar.backends import backend_decoder

        damages = (lmdb.Error, ArithmeticError, LookupError, OSError, RuntimeError, TypeError)
        try:
            place = backend_decoder(written)
            self._make_room_for(place.backend, place.uid)
            value = self._accessor(place.backend, schema).read_data(place)
        except (*damages, ValueError) as error:
            lines = str(error).splitlines() or [""]
            raise MissingValueError(
                f"its data cannot be read: {type(error).__name__}: {lines[0][:200]}"
            ) from error
        return value if schema["kind"] != "ndarray" else _fitting(value, schema)

    def _make_room_for(self, code: str, uid: str) -> None:
        """Close all data files when another one would be too many."""
        if (code, uid) not in self._open_files and len(self._open_files) >= _OPEN_FILES:
            for accessor in self._accessors.values():
                accessor.close()
            self._accessors = {}
            self._open_files = set()
        self._open_files.add((code, uid))

    def _accessor(self, code: str, schema: dict[str, Any]) -> Any:
        import numpy
        from hangar.backends import BACKEND_ACCESSOR_MAP

        options: dict[str, Any] = {"repo_path": self._folder}
        if schema["kind"] == "ndarray":
            options["schema_shape"] = tuple(schema["shape"])
            options["schema_dtype"] = numpy.dtype(schema["dtype"])
        name = (code, *map(str, options.values()))
        if name not in self._accessors:
            if not (self._folder / "data" / code).is_dir():
                raise FileNotFoundError(f"the folder data/{code} is gone")  # Hangar would make it
            accessor = BACKEND_ACCESSOR_MAP[code](**options)
            accessor.open(mode="r")
            self._accessors[name] = accessor
        return self._accessors[name]


def _fitting(value: Any, schema: dict[str, Any]) -> Any:
    """Return an array with the dtype of its column, little-endian and in C order.

    Old repositories gave zeros of different dtypes one digest.
    """
    import numpy

    dtype = numpy.dtype(schema["dtype"])
    if value.dtype != dtype:
        if value.any():
            raise MissingValueError(f"its data is of dtype {value.dtype}, not {dtype}")
        value = value.astype(dtype)
    # Not ascontiguousarray, which makes an array of no dimensions one of one.
    return numpy.asarray(value, dtype=dtype.newbyteorder("<"), order="C")
