"""The three stores over bundles: one file, or all those of a bucket."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tensorvcs.errors import InvalidInputError, ObjectNotFoundError, ReadOnlyError, with_hint
from tensorvcs.objects.digest import array_to_digests, digests_to_array
from tensorvcs.storage.interfaces import Stores
from tensorvcs.sync.bundle_file import read_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import LocationTable, RefChange, StoredValues
    from tensorvcs.sync.bundle_file import BundleFile

_ASKED_AT_ONCE = 16


def bundle_stores(bundle: BundleFile) -> Stores:
    """Return the read-only stores of one bundle.

    Raises
    ------
    ObjectDamagedError
        Its head cannot be read.
    """
    head = bundle.head

    def files() -> list[BundleFile]:
        return [bundle]

    return Stores(
        BundleObjects(files, bundle.file.name),
        BundleTensors(files, bundle.file.name, is_part=not head.part.is_everything),
        BundleRefs(head.refs, bundle.file.name),
        nullcontext,
    )


class BundleObjects:
    """ObjectStore over bundles.

    Parameters
    ----------
    files : callable
        Returns the bundles, to be looked through in this order.
    name : str
        What errors call the place.
    """

    def __init__(self, files: Callable[[], Sequence[BundleFile]], name: str) -> None:
        self._files = files
        self._name = name

    def get(self, digests: Sequence[bytes]) -> list[bytes]:
        names = digests_to_array(digests)
        left = np.arange(len(digests))
        reads: list[tuple[BundleFile, NDArray[np.intp], list[int]]] = []
        for bundle in self._files():
            if not len(left):
                break
            places = bundle.find_objects(names[left])
            is_here = places >= 0
            if is_here.any():
                reads.append((bundle, places[is_here], left[is_here].tolist()))
            left = left[~is_here]
        if len(left):
            raise ObjectNotFoundError(f"object {digests[left[0]].hex()} is not in {self._name}")
        found = [b""] * len(digests)
        for (_, _, ats), contents in zip(reads, _read_objects(reads), strict=True):
            for at, content in zip(ats, contents, strict=True):
                found[at] = content
        return found

    def put(self, objects: Sequence[bytes]) -> list[bytes]:
        raise read_only(self._name)

    def missing(self, digests: Sequence[bytes]) -> list[bytes]:
        is_here = np.zeros(len(digests), np.bool_)
        names = digests_to_array(digests)
        for bundle in self._files():
            left = np.flatnonzero(~is_here)
            is_here[left] = bundle.find_objects(names[left]) >= 0
        return [digest for digest, here in zip(digests, is_here.tolist(), strict=True) if not here]

    def find(self, prefix_hex: str, limit: int = 3) -> list[bytes]:
        low = digests_to_array([bytes.fromhex(prefix_hex.ljust(64, "0"))])[0].tobytes()
        found: set[bytes] = set()
        for bundle in self._files():
            names = bundle.objects.digests
            at = int(np.searchsorted(names.view("S32").reshape(-1), low)) if len(names) else 0
            for digest in array_to_digests(names[at : at + limit]):
                if digest.hex().startswith(prefix_hex):
                    found.add(digest)
        return sorted(found)[:limit]


def _read_objects(
    reads: Sequence[tuple[BundleFile, NDArray[np.intp], object]],
) -> Iterable[list[bytes]]:
    """Return objects of several bundles, which may be far away: they are asked at a time."""
    if len(reads) <= 1:
        return [bundle.read_objects(places) for bundle, places, _ in reads]
    with ThreadPoolExecutor(min(_ASKED_AT_ONCE, len(reads))) as pool:
        return list(pool.map(lambda read: read[0].read_objects(read[1]), reads))


class BundleTensors:
    """TensorStore over bundles; values are given out as they are stored.

    Parameters
    ----------
    files : callable
        Returns the bundles, to be looked through in this order.
    name : str
    is_part : bool
        Whether values may be absent that the trees name: these are then left out of what
        is given, and have no size.
    """

    def __init__(
        self,
        files: Callable[[], Sequence[BundleFile]],
        name: str,
        *,
        is_part: bool = False,
    ) -> None:
        self._files = files
        self._name = name
        self._is_part = is_part

    def _found(
        self, digests: NDArray[np.uint8], *, allow_missing: bool
    ) -> Iterator[tuple[BundleFile, NDArray[np.intp], NDArray[np.intp]]]:
        """Yield bundles with which of the digests each has, and where."""
        left = np.arange(len(digests))
        for bundle in self._files():
            if not len(left):
                return
            places = bundle.find_values(digests[left])
            is_here = places >= 0
            if is_here.any():
                yield bundle, left[is_here], places[is_here]
            left = left[~is_here]
        if len(left) and not allow_missing:
            name = digests[left[0]].tobytes().hex()
            raise with_hint(
                ObjectNotFoundError(f"value {name} is not in {self._name}"),
                "it may have been made from a repository that lacks values",
            )

    def contains(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        is_here = np.zeros(len(digests), np.bool_)
        for _, chosen, _ in self._found(digests, allow_missing=True):
            is_here[chosen] = True
        return is_here

    def fetch(self, digests: NDArray[np.uint8]) -> int:
        return 0

    def sizes(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        sizes = np.zeros(len(digests), np.int64)
        for bundle, chosen, places in self._found(digests, allow_missing=self._is_part):
            sizes[chosen] = bundle.value_sizes(places)
        return sizes

    def stored(self, digests: NDArray[np.uint8]) -> Iterator[StoredValues]:
        # All are looked for before the first is given out.
        found = list(self._found(digests, allow_missing=self._is_part))
        yield from read_in_order(
            read for bundle, _, places in found for read in bundle.reads(np.unique(places))
        )

    def take(self, values: StoredValues) -> None:
        raise read_only(self._name)

    @property
    def unsealed_nbytes(self) -> int:
        return 0

    def seal(self) -> None:
        """There is nothing to seal."""

    def discard(self) -> None:
        """There is nothing to discard."""

    # What a store here does and one far away does not

    def read(self, schema: Schema, digests: NDArray[np.uint8]) -> list[Any]:
        raise out_of_reach(self._name)

    def write(
        self, schema: Schema, digests: NDArray[np.uint8], values: NDArray[Any] | Sequence[Any]
    ) -> None:
        raise read_only(self._name)

    def table(
        self,
        schema: Schema,
        leaves: Sequence[bytes],
        counts: NDArray[np.int64],
        load: Callable[[Sequence[bytes]], Iterable[NDArray[np.uint8]]],
    ) -> LocationTable:
        raise out_of_reach(self._name)


class BundleRefs:
    """RefStore that never changes, and has no log."""

    def __init__(self, refs: Mapping[str, bytes], name: str) -> None:
        self._refs = dict(refs)
        self._name = name

    def get(self, name: str) -> bytes | None:
        return self._refs.get(name)

    def items(self, prefix: str = "") -> Mapping[str, bytes]:
        return {name: self._refs[name] for name in sorted(self._refs) if name.startswith(prefix)}

    def swap(self, changes: Sequence[RefChange], operation: bytes | None = None) -> NoReturn:
        raise read_only(self._name)

    def operations(self, limit: int | None = None) -> list[tuple[int, bytes]]:
        return []


def out_of_reach(name: str) -> InvalidInputError:
    """Return the error of a column that is read where it cannot be."""
    return with_hint(
        InvalidInputError(f"values cannot be read in {name}; they move to and from it"),
        "clone it, in part perhaps, and work on the clone",
    )


def read_only(name: str) -> ReadOnlyError:
    """Return the error of a change to a bundle."""
    return with_hint(
        ReadOnlyError(f"{name} is a bundle, which never changes; nothing was pushed"),
        "make another one with 'tvcs bundle create'",
    )
