"""Checkouts over stores in memory, and over a repository on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import tensorvcs as tv
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["memory", "disk"])
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A repository with `edit` and `checkout`."""
    if request.param == "memory":
        yield MemoryRepository()
        return
    with tv.init(tmp_path / "repo", user_name="Ada", user_email="ada@example.org") as made:
        yield made
