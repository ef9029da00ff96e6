"""Bundles in memory: written from repositories, opened, moved on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tensorvcs.history.refs import BRANCHES, TAGS
from tensorvcs.storage.exchange import checked_data
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.sync.bundle import plan_bundle, write_bundle
from tensorvcs.sync.bundle_file import BundleFile
from tensorvcs.sync.bundle_stores import bundle_stores
from tensorvcs.sync.transfer import transfer
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.sync.filters import Filter


@dataclass
class MemoryFile:
    """A file in memory that counts what is read of it."""

    content: bytes
    name: str = "pets.bundle"
    reads: list[tuple[int, int]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return len(self.content)

    @property
    def read_nbytes(self) -> int:
        return sum(nbytes for _, nbytes in self.reads)

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        for start, nbytes in ranges:
            assert 0 <= start <= start + nbytes <= len(self.content)
        self.reads += ranges
        return [memoryview(self.content)[start : start + n] for start, n in ranges]


def opened(content: bytes, *, is_checked: bool = False) -> BundleFile:
    return BundleFile(MemoryFile(content), checked_data, is_checked=is_checked)


def bundle_of(
    stores: Stores, names: Sequence[str] = (), *, since: Any = (), part: Filter | None = None
) -> bytes:
    """Return the bytes of a bundle of a repository."""
    content = bytearray()
    plan = plan_bundle(stores, names, since=since, part=part)
    write_bundle(stores, plan, content.extend)
    return bytes(content)


def take_bundle(
    content: bytes, repo: MemoryRepository | None = None, part: Filter | None = None
) -> MemoryRepository:
    """Copy all that a bundle has into a repository, and its branches and tags."""
    taken = MemoryRepository() if repo is None else repo
    source = bundle_stores(opened(content))
    refs = {**source.refs.items(BRANCHES), **source.refs.items(TAGS)}
    digests: list[Any] = [bytes.fromhex(value.split()[1].decode()) for value in refs.values()]
    tags = [d for d, v in zip(digests, refs.values(), strict=True) if v.startswith(b"tag ")]
    commits = [d for d in digests if d not in tags]
    transfer(source, taken.stores, commits, tags=tags, payload=part)
    for name, value in refs.items():
        taken.stores.refs.swap([RefChange(name, taken.stores.refs.get(name), value)])
    return taken
