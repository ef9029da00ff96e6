"""Repositories in memory for transfers: content, the law of closure, and stores that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import ObjectDamagedError, RemoteError
from tensorvcs.history.snapshot import decode_snapshot
from tensorvcs.objects.commit import CommitObject, TagObject
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.storage.interfaces import Stores
from tensorvcs.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.memory_repository import MemoryRepository

SAMPLES = 3000
"""Enough for a tree of several levels."""


def images(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 255, (count, 5, 5), np.uint8)


def fill(repo: MemoryRepository) -> MemoryRepository:
    """Make three commits: images, labels and texts; changed samples; a nested column."""

    def first(co: Any) -> None:
        pictures = co.add_ndarray_column("images", (5, 5, 4), "uint8")
        pictures.extend(np.repeat(images(SAMPLES)[..., None], 4, 3))
        co.add_ndarray_column("labels", (), "int64").extend(np.arange(SAMPLES) % 7)
        co.add_str_column("names").update({f"key/{i}": f"name {i}" for i in range(40)})

    def second(co: Any) -> None:
        co["images"][7] = np.ones((5, 5, 4), np.uint8)
        co["labels"][9] = 77
        del co["names"]["key/3"]

    def third(co: Any) -> None:
        nested = co.add_ndarray_column(
            "scans", (None, 9), "float32", variable_shape=True, nested=True
        )
        nested["a"] = {1: np.zeros((2, 9), np.float32), "b": np.ones((3, 9), np.float32)}

    for change in (first, second, third):
        repo.commit(change, message=change.__name__)
    return repo


def closure_problems(stores: Stores) -> list[str]:
    """Return what is named by an object of a store in memory and is not there."""
    objects: Any = stores.objects

    def is_here(name: bytes) -> bool:
        value = np.frombuffer(name, np.uint8).reshape(1, 32)
        return name in objects.objects or bool(stores.tensors.contains(value).all())

    return [
        f"{digest.hex()[:8]} names {name.hex()[:8]}"
        for digest, content in objects.objects.items()
        for name in _names_of(content)
        if not is_here(name)
    ]


def _names_of(content: bytes) -> list[bytes]:
    if content.startswith(b"commit "):
        commit = CommitObject.decode(content)
        return [commit.snapshot, *commit.parents]
    if content.startswith(b"snapshot "):
        roots = []
        for state in decode_snapshot(content).values():
            roots += [root.digest for root in (state.tree.ints, state.tree.texts) if root]
        return list(roots)
    if content.startswith(b"tag "):
        return [TagObject.decode(content).commit]
    try:
        node = Node(content)
    except ObjectDamagedError:
        raise AssertionError(f"an object of an unknown kind: {content[:40]!r}") from None
    if node.level:
        return array_to_digests(node.children)
    return array_to_digests(node.values) if node.value_nbytes == 32 else []


class Breaking:
    """A store that breaks at its n-th call of some methods; the call may have been done."""

    def __init__(
        self, store: Any, methods: set[str], countdown: list[int], *, is_done: bool
    ) -> None:
        self._store = store
        self._methods = methods
        self._countdown = countdown
        self._is_done = is_done

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in self._methods:
            return found

        def call(*args: Any) -> Any:
            self._countdown[0] -= 1
            if self._countdown[0] == 0:
                if self._is_done:
                    found(*args)
                raise RemoteError("the line was cut")
            return found(*args)

        return call


def breaking(stores: Stores, at: int, *, is_done: bool = False) -> tuple[Stores, list[int]]:
    """Return stores that break at the n-th write or read, and the count that is left."""
    countdown = [at]
    writes = {"put", "take", "seal", "get", "missing", "stored", "contains"}
    objects, tensors = (
        Breaking(store, writes, countdown, is_done=is_done)
        for store in (stores.objects, stores.tensors)
    )
    unsafe: Any = objects, tensors
    return Stores(unsafe[0], unsafe[1], stores.refs, stores.transaction), countdown


def smaller_batches(patch: Callable[[str, int], None]) -> None:
    """Have transfers work in small steps, so that a cut can fall between any two."""
    for name, value in (
        ("_ASK_DIGESTS", 500),
        ("_ASK_VALUES", 500),
        ("_GET_OBJECTS", 3),
        ("_COMMITS", 2),
        ("_SEAL_NBYTES", 20_000),
        ("_SEAL_LEAVES", 4),
    ):
        patch(name, value)
