"""Which repositories can be named, and how long they stay open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import tensorvcs as tv
from tensorvcs.errors import ClosedError, InvalidInputError, RepositoryNotFoundError
from tensorvcs.server import repositories as module
from tensorvcs.server.repositories import Repositories, has_repository
from tensorvcs.sync import wire
from tensorvcs.sync.service import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a repository, a bare one, and what must not be reached."""
    root = tmp_path / "root"
    tv.init(root / "pets").close()
    tv.init(root / "team" / "bare.v2", bare=True).close()
    tv.init(tmp_path / "outside").close()
    tv.init(root / ".hidden").close()
    (root / "plain").mkdir()
    return root


@pytest.fixture
def repositories(root: Path) -> Iterator[Repositories]:
    found = Repositories(root)
    yield found
    found.close()


def hello(repositories: Repositories, name: str) -> bytes:
    with repositories.service(name) as service:
        return b"".join(wire.stream(service.answer("hello", iter([]), Visitor("a", "read"))))


@pytest.mark.parametrize("name", ["pets", "team/bare.v2"])
def test_a_repository_is_found_by_its_name(repositories: Repositories, name: str) -> None:
    assert b"protocol" in hello(repositories, name)
    repositories.upkeep(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "/", "pets/", "/pets", "./pets", "pets/.", "pets/..", "../outside",
        "pets/../pets", "team/../../outside", "pets//", "team//bare.v2", ".hidden",
        "pets/.tensorvcs", "team/bare.v2/packs", "team/bare.v2/lmdb", "plain", "nowhere",
        "PETS ", "pets\0", "pets\n", "pets%2f", "pets\\", "~", "~root", "-x", "p*", "a" * 500,
        "http://host/x", "pets?", "pets#",
    ],
)  # fmt: skip
def test_a_name_that_is_none_of_those_below_the_root(repositories: Repositories, name: str) -> None:
    with pytest.raises(RepositoryNotFoundError, match="there is no repository"):
        hello(repositories, name)
    with pytest.raises(RepositoryNotFoundError):
        repositories.upkeep(name)


def test_links_lead_nowhere_outside(root: Path, repositories: Repositories) -> None:
    outside = root.parent / "outside"
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    (root / "up").symlink_to(root.parent)
    (root / "half").mkdir()
    (root / "half" / ".tensorvcs").symlink_to(outside / ".tensorvcs")
    (root / "inside").symlink_to(root / "pets")
    for name in ("link", "loop", "up", "up/outside", "half"):
        with pytest.raises(RepositoryNotFoundError):
            hello(repositories, name)
    assert hello(repositories, "inside")


def test_a_repository_itself_is_served_alone(root: Path) -> None:
    for place, name in ((root / "pets", "pets"), (root / "team" / "bare.v2", "bare.v2")):
        repositories = Repositories(place)
        assert repositories.is_single
        assert hello(repositories, name)
        for other in ("other", "team", "root", ".tensorvcs", f"{name}/{name}"):
            with pytest.raises(RepositoryNotFoundError):
                hello(repositories, other)
        repositories.close()


def test_roots_that_cannot_be_served(tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError, match="no folder"):
        Repositories(tmp_path / "nowhere")
    tv.init(tmp_path / "my pets").close()
    with pytest.raises(InvalidInputError, match="'my pets' cannot be the name"):
        Repositories(tmp_path / "my pets")


def test_those_that_nobody_asks_are_closed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 1)
    repositories = Repositories(root)
    with repositories.service("pets") as first:
        hello(repositories, "team/bare.v2")
        assert list(first.answer("hello", iter([]), Visitor("a", "read")))
        assert first.stores.refs.get("HEAD")
    hello(repositories, "team/bare.v2")
    assert [place.name for place in repositories._open] == ["bare.v2"]
    with pytest.raises(ClosedError):
        first.stores.refs.get("HEAD")
    repositories.close()
    with pytest.raises(ClosedError, match="ending"):
        hello(repositories, "pets")


def test_closing_waits_for_those_in_use(root: Path) -> None:
    repositories = Repositories(root)
    with repositories.service("pets") as service:
        repositories.close()
        assert service.stores.refs.get("HEAD")
    with pytest.raises(ClosedError):
        service.stores.refs.get("HEAD")


def test_a_folder_that_went_is_not_found(root: Path, repositories: Repositories) -> None:
    hello(repositories, "pets")
    for name in ("format.json", "format-copy.json"):
        hello(repositories, "pets")
        (root / "pets" / ".tensorvcs" / name).unlink()
    with pytest.raises(RepositoryNotFoundError):
        hello(repositories, "pets")


def test_a_folder_tells_whether_there_is_a_repository(root: Path, tmp_path: Path) -> None:
    empty = tmp_path / "nothing-here"
    assert not has_repository(empty)
    (empty / "deep").mkdir(parents=True)
    (empty / "file").touch()
    assert not has_repository(empty)
    tv.init(empty / "deep" / "data", bare=True).close()
    for folder in (empty, empty / "deep", empty / "deep" / "data"):
        assert has_repository(folder)
    assert has_repository(root)
