"""Caches of files that can be had again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tensorvcs.storage.file_cache import FileCache, MemoryCache

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_what_is_put_comes_back(tmp_path: Path, kind: str) -> None:
    cache = FileCache(tmp_path / "a" / "b") if kind == "file" else MemoryCache()
    assert cache.get("x") is None
    for content in (b"one", b"two", b""):
        cache.put("x", content)
        found = cache.get("x")
        assert found is not None
        assert bytes(found) == content


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = FileCache(tmp_path / "file" / "folder")
    cache.put("x", b"one")
    assert cache.get("x") is None
