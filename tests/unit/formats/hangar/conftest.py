"""Stories of Hangar, each written once, and an empty repository to import into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import tensorvcs as tv
from tests.hangar_repositories import write_story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.hangar_repositories import Story


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Story]:
    """Return a story by name; nobody may write to it."""
    written: dict[str, Story] = {}

    def find(name: str) -> Story:
        if name not in written:
            written[name] = write_story(name, tmp_path_factory.mktemp("hangar") / name)
        return written[name]

    return find


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path / "here", user_name="Bea", user_email="bea@example.org") as made:
        yield made
