"""Remotes of a repository on disk: clone, fetch, pull, push, partial clones, pickled readers."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import (
    BareRepositoryError,
    BranchNotFoundError,
    NonFastForwardError,
    ObjectNotFoundError,
    PromisorAwayError,
    RemoteError,
    RemoteExistsError,
    RemoteNotFoundError,
    RepositoryExistsError,
    RepositoryNotFoundError,
)
from tensorvcs.objects.commit import Identity
from tensorvcs.sync import transfer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 400
PIXELS = np.random.default_rng(0).integers(0, 255, (COUNT, 16, 16, 3), np.uint8)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path / "source", "Ada", "ada@example.org") as repo:
        with repo.edit() as co:
            co.add_ndarray_column("images", (16, 16, 3), "uint8").extend(PIXELS)
            co.add_ndarray_column("labels", (), "int64").extend(np.arange(COUNT) % 10)
            co.add_str_column("notes").update({i: f"note {i}" * 20 for i in range(COUNT)})
            co.commit("First")
        yield repo


def clone(source: tv.Repository, **options: Any) -> tv.Repository:
    repo = tv.clone(source.path, source.path.parent / "copy", **options)
    repo.record_as(Identity("Bob", "bob@example.org"))
    return repo


def relabel(repo: tv.Repository, key: int, label: int) -> tv.Commit:
    with repo.edit() as co:
        co["labels"][key] = label
        return co.commit(f"{key} is {label}")


def value_count(repo: tv.Repository) -> int:
    return repo.stats().packs.value_count


def test_two_people_work_at_once(source: tv.Repository) -> None:
    with clone(source) as repo:
        relabel(source, 1, 100)
        relabel(repo, 2, 200)
        with pytest.raises(NonFastForwardError):
            repo.push()
        merged = repo.pull()
        assert not merged.is_fast_forward
        assert repo.push().movement == "fast-forward"
        assert source.resolve("main") == merged.commit
        labels = source.checkout()["labels"]
        assert (labels[1], labels[2]) == (100, 200)
        assert source.verify().is_sound
        assert repo.verify().is_sound


def test_tags_and_branches(source: tv.Repository) -> None:
    source.create_branch("dev")
    source.create_tag("v1", message="One")
    with clone(source, branch="dev") as repo:
        assert repo.head == "dev"
        assert list(repo.branches) == ["dev"]
        assert repo.tag_message("v1") == "One"
        repo.create_tag("mine")
        assert repo.push_tag("origin", "mine").movement == "new"
        assert repo.push(branch="dev", to="from-bob").movement == "new"
        assert repo.delete_remote_branch("origin", "from-bob").movement == "deleted"
        assert "mine" in source.tags
    with pytest.raises(BranchNotFoundError):
        tv.clone(source.path, source.path.parent / "other", branch="nope")


def test_a_clone_that_was_cut_off_goes_on(
    source: tv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def cut(moved: tv.Transferred) -> None:
        calls.append(moved.value_count)
        if moved.value_count > COUNT:
            raise RemoteError("the line was cut")

    with monkeypatch.context() as patch:
        for name, value in (("_ASK_DIGESTS", 64), ("_SEAL_NBYTES", 1), ("_GET_OBJECTS", 1)):
            patch.setattr(transfer, name, value)
        with pytest.raises(RemoteError, match="cut"):
            clone(source, progress=cut)
    seen: list[int] = []
    with clone(source, progress=lambda moved: seen.append(moved.value_count)) as repo:
        assert max(seen) < 1.5 * COUNT
        assert repo.verify().is_sound
        assert (repo.checkout()["images"][:] == PIXELS).all()
    with pytest.raises(RepositoryExistsError):
        clone(source)


def test_a_partial_clone_in_other_processes_and_threads(source: tv.Repository) -> None:
    with clone(source, columns=["images", "labels"], keys=["0:10"]) as repo:
        assert value_count(repo) == 10
        # As a worker process gets it: with its promisor.
        checkout = pickle.loads(pickle.dumps(repo.checkout()))
        assert (checkout["images"][[3, 20, 21]] == PIXELS[[3, 20, 21]]).all()
        assert value_count(repo) == 12
        assert checkout["notes"][5] == "note 5" * 20
        assert value_count(repo) == 13
        assert (checkout["images"].read(np.arange(COUNT)) == PIXELS).all()


def test_a_budget_is_the_same_for_the_same_seed(source: tv.Repository) -> None:
    options: dict[str, Any] = {
        "columns": ["images", "labels"],
        "max_bytes": 20 * 768,
        "sample": "stratified:labels",
        "lazy": False,
    }

    def taken(name: str, seed: int) -> list[int]:
        with tv.clone(source.path, source.path.parent / name, seed=seed, **options) as repo:
            assert value_count(repo) == 20
            images = repo.checkout()["images"]
            found = []
            for key in range(COUNT):
                try:
                    images[key]
                except ObjectNotFoundError:
                    continue
                found.append(key)
            return found

    first = taken("a", 1)
    assert np.bincount(np.array(first) % 10).tolist() == [2] * 10
    assert taken("b", 1) == first
    assert taken("c", 2) != first


def test_merge_commit_and_push_in_a_partial_clone(source: tv.Repository) -> None:
    with clone(source, columns=["labels"]) as repo:
        repo.create_branch("dev")
        relabel(repo, 1, 50)
        repo.switch("dev")
        with repo.edit() as co:
            co["images"][7] = PIXELS[8]
            co.commit("Repeat a picture")
        repo.switch("main")
        repo.merge("dev")
        # The picture was there already, under its digest.
        assert repo.push().movement == "fast-forward"
        assert list(repo.diff("main~1").columns["images"].modified) == [7]
        assert repo.blame("labels")[1].summary == "1 is 50"
    assert source.verify().is_sound
    assert (source.checkout()["images"][7] == PIXELS[8]).all()


def test_the_data_of_another_version_can_be_asked_for(source: tv.Repository) -> None:
    first = source.resolve("main")
    with source.edit() as co:
        co["images"][0] = PIXELS[0] ^ np.uint8(255)
        co.commit("Invert")
    with clone(source, columns=["labels"]) as repo:
        assert repo.fetch_data(columns=["images"]).value_count == COUNT
        assert repo.fetch_data(first, columns=["images"]).value_count == 1
        assert repo.fetch_data(first, columns=["images"]).value_count == 0


def test_a_bare_clone_serves_others(source: tv.Repository) -> None:
    hub = source.path.parent / "hub"
    with tv.clone(source.path, hub, bare=True) as repo:
        assert repo.is_bare
        with pytest.raises(BareRepositoryError):
            repo.pull()
    source.add_remote("hub", str(hub))
    commit = relabel(source, 3, 33)
    assert source.push("hub").movement == "fast-forward"
    with tv.open(hub) as repo:
        assert repo.resolve("main") == commit
        assert repo.verify().is_sound


def test_remotes_come_and_go(source: tv.Repository) -> None:
    remote = source.add_remote("up", "../up")
    assert source.remotes == {"up": remote}
    with pytest.raises(RemoteExistsError, match="remote 'up' exists already"):
        source.add_remote("up", "/elsewhere")
    with pytest.raises(RepositoryNotFoundError):
        source.fetch("up")
    source.remove_remote("up")
    for call in (source.fetch, source.push, source.remove_remote):
        with pytest.raises(RemoteNotFoundError, match="no remote 'up'; there are: none"):
            call("up")


def test_a_remote_that_went_away_is_one_clear_error(source: tv.Repository) -> None:
    with clone(source, keys=["0:10"]) as repo:
        source.close()
        source.path.rename(source.path.with_name("away"))
        images = repo.checkout()["images"]
        assert (images[[1, 2]] == PIXELS[[1, 2]]).all()
        with pytest.raises(PromisorAwayError, match=r"2 values are not in this partial") as e:
            images[[1, 11, 12]]
        assert "fetch-data" in str(e.value.hint)
        # Said once, however many hands it went through.
        assert str(e.value).count("partial clone") == 1
        with pytest.raises(ObjectNotFoundError, match="1 value is not in this partial clone"):
            images[12]
        source.path.with_name("away").rename(source.path)
        assert (images[[1, 11, 12]] == PIXELS[[1, 11, 12]]).all()
