"""The three stores of a repository in an object store.

Commits, nodes and values lie in bundles that are written once, under names that follow from what
is in them. All refs are one small file, which is replaced only by who knows its last version.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tensorvcs.errors import (
    ObjectDamagedError,
    ObjectNotFoundError,
    RefChangedError,
    RepositoryNotFoundError,
    UnsupportedFormatError,
    with_hint,
)
from tensorvcs.history.refs import BRANCHES, HEAD, encode_symbolic_ref
from tensorvcs.objects.digest import digest_of
from tensorvcs.storage.interfaces import Stores
from tensorvcs.sync.bundle_format import check_head
from tensorvcs.sync.bundle_stores import BundleObjects, BundleTensors, out_of_reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import LocationTable, RefChange, StoredValues
    from tensorvcs.sync.bucket import Bucket, Version
    from tensorvcs.sync.bucket_contents import BucketContents

REFS_FILE = "refs.json"
VERSION = 1
# The log in a bucket is for a look at what happened last; nothing is undone by it.
_KEPT_OPERATIONS = 100
# So often somebody else may be first before a change is given up.
_TRIES = 20

T = TypeVar("T")


def bucket_stores(contents: BucketContents) -> Stores:
    """Return the stores of the repository in a bucket.

    Notes
    -----
    What is put is durable when a ref moves; the transaction is none. Of a repository that there
    is not yet, all refs are absent, and listing them raises RepositoryNotFoundError; the
    first ref that is made makes it.
    """
    return Stores(
        BucketObjects(contents), BucketTensors(contents), BucketRefs(contents), nullcontext
    )


class BucketObjects:
    """ObjectStore in a bucket."""

    def __init__(self, contents: BucketContents) -> None:
        self._contents = contents
        self._bundled = BundleObjects(contents.files, contents.bucket.name)

    def get(self, digests: Sequence[bytes]) -> list[bytes]:
        waiting = self._contents.waiting
        sent = [digest for digest in digests if digest not in waiting]
        found = iter(_looking_again(self._contents, lambda: self._bundled.get(sent)))
        return [waiting[d] if d in waiting else next(found) for d in digests]

    def put(self, objects: Sequence[bytes]) -> list[bytes]:
        digests = [digest_of(content) for content in objects]
        absent = set(self.missing(digests))
        named = dict(zip(digests, objects, strict=True))
        fresh = [content for digest, content in named.items() if digest in absent]
        if fresh:
            self._contents.add_objects(fresh)
        return digests

    def missing(self, digests: Sequence[bytes]) -> list[bytes]:
        waiting = self._contents.waiting
        return self._bundled.missing([digest for digest in digests if digest not in waiting])

    def find(self, prefix_hex: str, limit: int = 3) -> list[bytes]:
        waiting = [d for d in self._contents.waiting if d.hex().startswith(prefix_hex)]
        return sorted({*self._bundled.find(prefix_hex, limit), *waiting})[:limit]


class BucketTensors:
    """TensorStore in a bucket, for values on their way; it reads none."""

    def __init__(self, contents: BucketContents) -> None:
        self._contents = contents
        self._unsealed_nbytes = 0
        self._bundled = BundleTensors(contents.files, contents.bucket.name)

    def contains(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        is_here = self._contents.has_waiting_values(digests)
        left = np.flatnonzero(~is_here)
        is_here[left] = self._bundled.contains(digests[left])
        return is_here

    def fetch(self, digests: NDArray[np.uint8]) -> int:
        return 0

    def sizes(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        self._contents.send()
        return _looking_again(self._contents, lambda: self._bundled.sizes(digests))

    def stored(self, digests: NDArray[np.uint8]) -> Iterator[StoredValues]:
        self.sizes(digests)  # which looks for all of them, again if need be
        return self._bundled.stored(digests)

    def take(self, values: StoredValues) -> None:
        self._contents.add_values(values)
        self._unsealed_nbytes += int(values.sizes.sum())

    @property
    def unsealed_nbytes(self) -> int:
        """Bytes taken since the last `seal`, those among them that were sent."""
        return self._unsealed_nbytes

    def seal(self) -> None:
        """What is taken is durable when a ref moves."""
        self._unsealed_nbytes = 0

    def discard(self) -> None:
        """What was taken stays: nothing names it."""
        self._unsealed_nbytes = 0

    # What a store here does and one far away does not

    def read(self, schema: Schema, digests: NDArray[np.uint8]) -> list[Any]:
        raise out_of_reach(self._contents.bucket.name)

    def write(
        self, schema: Schema, digests: NDArray[np.uint8], values: NDArray[Any] | Sequence[Any]
    ) -> None:
        raise out_of_reach(self._contents.bucket.name)

    def table(
        self,
        schema: Schema,
        leaves: Sequence[bytes],
        counts: NDArray[np.int64],
        load: Callable[[Sequence[bytes]], Iterable[NDArray[np.uint8]]],
    ) -> LocationTable:
        raise out_of_reach(self._contents.bucket.name)


def _looking_again(contents: BucketContents, ask: Callable[[], T]) -> T:
    """Ask again, where something is absent, when others have sent bundles meanwhile."""
    try:
        return ask()
    except ObjectNotFoundError:
        if not contents.refresh():
            raise
        return ask()


# Refs


@dataclass(frozen=True, slots=True)
class _RefsFile:
    """The content of the file of refs: all of them, and the newest operations."""

    refs: Mapping[str, bytes]
    operation_count: int = 0
    operations: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        return json.dumps(
            {
                "format": "tensorvcs bucket",
                "version": VERSION,
                "refs": [[name, value.decode("latin-1")] for name, value in self.refs.items()],
                "operation_count": self.operation_count,
                "operations": [record.decode("latin-1") for record in self.operations],
            },
            indent=1,
        ).encode()


def _decode_refs_file(name: str, content: bytes) -> _RefsFile:
    try:
        fields = json.loads(content)
        if fields["format"] != "tensorvcs bucket":
            raise ValueError("it has another format")
        if fields["version"] != VERSION:
            raise UnsupportedFormatError(
                f"{name} has a repository of format {fields['version']!r}; this version reads "
                f"{VERSION}"
            )
        refs = {str(ref): value.encode("latin-1") for ref, value in fields["refs"]}
        if HEAD in refs:
            check_head(refs[HEAD])
        count = fields["operation_count"]
        if type(count) is not int:
            raise TypeError("the number of operations is none")
        records = tuple(record.encode("latin-1") for record in fields["operations"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise with_hint(
            ObjectDamagedError(f"{name}/{REFS_FILE} cannot be read: {error}"),
            "put back an older version of that file, if the bucket keeps them",
        ) from error
    return _RefsFile(dict(sorted(refs.items())), count, records)


class BucketRefs:
    """RefStore in one file of a bucket."""

    def __init__(self, contents: BucketContents) -> None:
        self._contents = contents
        self._bucket: Bucket = contents.bucket

    def _read(self) -> tuple[_RefsFile, Version] | None:
        found = self._bucket.get(REFS_FILE)
        if found is None:
            return None
        return _decode_refs_file(self._bucket.name, found[0]), found[1]

    def _existing(self) -> _RefsFile:
        found = self._read()
        if found is None:
            raise with_hint(
                RepositoryNotFoundError(f"there is no repository at {self._bucket.name}"),
                "the first push to it makes one",
            )
        return found[0]

    def get(self, name: str) -> bytes | None:
        if name == HEAD:
            return self._existing().refs.get(name)
        found = self._read()
        return None if found is None else found[0].refs.get(name)

    def items(self, prefix: str = "") -> Mapping[str, bytes]:
        refs = self._existing().refs
        return {name: value for name, value in refs.items() if name.startswith(prefix)}

    def swap(self, changes: Sequence[RefChange], operation: bytes | None = None) -> None:
        """Make all changes, or none and raise RefChangedError.

        Notes
        -----
        All that was put is durable before. When somebody else changes other refs meanwhile, it is
        tried again on what they are then.
        """
        self._contents.finish()
        self._contents.guard()
        for _ in range(_TRIES):
            found = self._read()
            before = _RefsFile({}) if found is None else found[0]
            content = _changed(before, changes, operation).encode()
            if found is None:
                is_written = self._bucket.create(REFS_FILE, content)
            else:
                is_written = self._bucket.replace(REFS_FILE, content, found[1])
            if is_written is not None:
                return
        raise RefChangedError(f"the refs of {self._bucket.name} change all the time")

    def operations(self, limit: int | None = None) -> list[tuple[int, bytes]]:
        """Return the newest operations; a hundred are kept."""
        file = self._existing()
        numbers = range(file.operation_count, 0, -1)
        return list(zip(numbers, file.operations[::-1], strict=False))[:limit]


def _changed(file: _RefsFile, changes: Sequence[RefChange], operation: bytes | None) -> _RefsFile:
    refs = dict(file.refs)
    for change in changes:
        if refs.get(change.name) != change.before:
            raise RefChangedError(f"ref {change.name} was changed by somebody else")
    for change in changes:
        if change.after is None:
            refs.pop(change.name, None)
        else:
            refs[change.name] = change.after
    branches = [name for name in sorted(refs) if name.startswith(BRANCHES)]
    is_on = [encode_symbolic_ref(name) for name in branches]
    if branches and refs.get(HEAD) not in is_on:
        # Nobody switches branches in a bucket.
        main = encode_symbolic_ref(BRANCHES + "main")
        refs[HEAD] = main if main in is_on else is_on[0]
    changed = replace(file, refs=refs)
    if operation is None:
        return changed
    return replace(
        changed,
        operation_count=file.operation_count + 1,
        operations=(*file.operations, operation)[-_KEPT_OPERATIONS:],
    )
