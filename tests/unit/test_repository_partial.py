"""Partial clones: by column, key, bytes and depth; lazily and not; with the remote away."""

from __future__ import annotations

import pickle
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import (
    InvalidInputError,
    MergeConflictError,
    ObjectNotFoundError,
    PromisorAwayError,
    RemoteError,
)
from tensorvcs.objects.commit import Identity
from tests.served import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 60
PIXELS = np.random.default_rng(0).integers(0, 255, (COUNT + 10, 16, 16, 3), np.uint8)
NOTES = [f"note {i} " * 20 for i in range(COUNT)]

PARTS: dict[str, dict[str, Any]] = {
    "columns": {"columns": ["labels"]},
    "keys": {"keys": ["0:10"]},
    "bytes": {"max_bytes": 10 * 768, "sample": "random"},
    "depth": {"depth": 1},
}
EACH_PART = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[tv.Repository]:
    """Five commits: all; a picture, a label, a note changed; a branch with another label."""
    with tv.init(tmp_path / "root" / "source", "Ada", "ada@example.org") as repo:
        with repo.edit() as co:
            co.add_ndarray_column("images", (16, 16, 3), "uint8").extend(PIXELS[:COUNT])
            co.add_ndarray_column("labels", (), "int64").extend(np.arange(COUNT) % 10)
            co.add_str_column("notes").update(dict(enumerate(NOTES)))
            scans = co.add_ndarray_column("scans", (40,), "int32", nested=True)
            for i in range(10):
                scans[i] = {"a": np.full(40, i, np.int32), "b": np.full(40, -i, np.int32)}
            co.commit("First")
        repo.create_tag("v1", message="One")
        change(repo, "images", 1, PIXELS[COUNT])
        change(repo, "labels", 2, 22)
        repo.create_branch("dev")
        change(repo, "notes", 3, "other " * 20)
        repo.switch("dev")
        change(repo, "labels", 4, 44)
        repo.switch("main")
        yield repo


def change(repo: tv.Repository, column: str, key: int, value: Any) -> tv.Commit:
    with repo.edit() as co:
        co[column][key] = value
        return co.commit(f"{column} {key}")


def clone(source: tv.Repository, name: str = "copy", **options: Any) -> tv.Repository:
    repo = tv.clone(source.path, source.path.parent / name, **options)
    repo.record_as(Identity("Bob", "bob@example.org"))
    return repo


class Away:
    """While it is entered, the folder of a repository is elsewhere."""

    def __init__(self, repo: tv.Repository) -> None:
        repo.close()
        self._path = repo.path
        self._away = repo.path.with_name("away")

    def __enter__(self) -> None:
        self._path.rename(self._away)

    def __exit__(self, *_: object) -> None:
        self._away.rename(self._path)


def contents(repo: tv.Repository, revision: str) -> dict[str, Any]:
    """Return everything of a version as plain values."""
    checkout = repo.checkout(revision)
    return {
        "images": checkout["images"][:].tolist(),
        "labels": checkout["labels"][:].tolist(),
        "notes": dict(checkout["notes"].items()),
        "scans": {k: {n: v.tolist() for n, v in s.items()} for k, s in checkout["scans"].items()},
    }


def value_count(repo: tv.Repository) -> int:
    return repo.stats().packs.value_count


# What works without anything that is absent


@EACH_PART
@pytest.mark.parametrize("is_lazy", [True, False], ids=["lazy", "eager"])
def test_all_that_needs_no_absent_value_works_while_the_remote_is_away(
    source: tv.Repository, part: dict[str, Any], is_lazy: bool
) -> None:
    hub = tv.init(source.path.parent / "hub", bare=True)
    source.add_remote("hub", str(hub.path))
    for branch in ("main", "dev"):
        source.push("hub", branch)
    with clone(source, **part, lazy=is_lazy) as repo, Away(source):
        count = value_count(repo)
        checkout = repo.checkout()
        assert repo.is_partial
        assert len(checkout["labels"]) == COUNT
        assert list(checkout["labels"].keys()) == list(range(COUNT))
        assert len(checkout["images"]) == COUNT
        assert [c.summary for c in repo.log()] == ["notes 3", "labels 2", "images 1", "First"]
        assert list(repo.diff("main~2", "main").columns) == ["labels", "notes"]
        repr(repo.diff("main~3", "main"))
        repo.diff("main~3", "main")._repr_html_()
        for name in ("images", "notes", "scans"):
            repr(checkout[name])
            checkout[name]._repr_html_()
        checkout._repr_html_()
        assert not repo.is_dirty
        repo.stats()
        assert repo.verify().is_sound
        # Commit and push to another remote: what is new is here.
        repo.add_remote("hub", str(hub.path))
        made = change(repo, "labels", 7, 77)
        assert repo.push("hub").movement == "fast-forward"
        assert repo.branches["main"] == made
        assert list(repo.diff("main~1", "main").columns["labels"].modified) == [7]
        assert value_count(repo) == count
    assert hub.resolve("main") == made
    assert hub.verify().is_sound
    hub.close()


@EACH_PART
def test_blame_and_merge_while_the_remote_is_away(
    source: tv.Repository, part: dict[str, Any]
) -> None:
    with clone(source, **part) as repo:
        if "depth" in part:
            # A merge has a base, and blame a past: they need the trees of so many commits.
            repo.fetch(depth=4)
        with Away(source):
            assert repo.blame("labels")[2].summary == "labels 2"
            merged = repo.merge("origin/dev")
            assert repo.checkout(merged.commit)["labels"][4] == 44
            repo.create_branch("other", at="main~1")
            change(repo, "labels", 5, 1)
            repo.switch("other")
            change(repo, "labels", 5, 2)
            with pytest.raises(MergeConflictError):
                repo.merge("main")
            preview = repo.preview_merge("main")
            assert [c.key for c in preview.conflicts] == [5]
            [conflict] = preview.conflicts
            assert (conflict.ours, conflict.theirs) == (2, 1)


def test_absent_values_in_conflict_are_said_to_be_absent(source: tv.Repository) -> None:
    source.switch("dev")
    change(source, "images", 9, PIXELS[COUNT + 1])
    source.switch("main")
    change(source, "images", 9, PIXELS[COUNT + 2])
    with clone(source, columns=["images"], keys=["0:5"]) as repo, Away(source):
        preview = repo.preview_merge("origin/dev")
        [conflict] = preview.conflicts
        assert (conflict.column, conflict.key) == ("images", 9)
        assert "not here" in conflict._repr_html_()
        with pytest.raises(PromisorAwayError):
            _ = conflict.ours
        assert "not here" in repo.history("images", 9)._repr_html_()
        assert "away" not in repo.checkout()["images"]._repr_html_()


@EACH_PART
def test_reading_what_is_absent_is_one_error_with_the_command(
    source: tv.Repository, part: dict[str, Any]
) -> None:
    place = str(source.path)
    with clone(source, **part) as repo, Away(source):
        with pytest.raises(PromisorAwayError) as caught:
            contents(repo, "main~2" if "depth" in part else "main")
        text = str(caught.value)
        assert f"remote 'origin' at {place} does not answer" in text
        assert text.count("partial clone") == 1
        assert "tvcs fetch-data" in str(caught.value.hint)
        assert not isinstance(caught.value, RemoteError)
    with clone(source, "eager", **part, lazy=False) as repo:
        with pytest.raises(ObjectNotFoundError, match="which fetches nothing") as nothing:
            contents(repo, "main~2" if "depth" in part else "main")
        assert "tvcs fetch-data" in str(nothing.value.hint)
        assert ("tvcs fetch origin --depth" in str(nothing.value.hint)) == ("depth" in part)


@EACH_PART
def test_everything_comes_when_it_is_read(source: tv.Repository, part: dict[str, Any]) -> None:
    with clone(source, **part) as repo:
        for revision in ("main", "origin/dev", "main~2", "v1"):
            assert contents(repo, revision) == contents(source, revision.removeprefix("origin/"))
        assert repo.blame("images")[1].summary == "images 1"
        assert repo.diff("v1", "main").stat().columns["images"].modified == 1
        assert repo.verify().is_sound


@EACH_PART
def test_pushing_everything_to_another_remote(source: tv.Repository, part: dict[str, Any]) -> None:
    hub = source.path.parent / "hub"
    with clone(source, **part) as repo, tv.init(hub, bare=True) as other:
        repo.add_remote("hub", str(hub))
        # What the other one lacks as well comes from the first on the way.
        repo.push("hub")
        assert other.verify().is_sound
        assert contents(other, "main~3") == contents(source, "v1")


def test_a_remote_that_has_lost_values_says_so(source: tv.Repository) -> None:
    bundle = source.path.parent / "small.bundle"
    source.create_bundle(bundle, part=tv.Filter(keys=("0:5",)))
    with tv.clone(bundle, source.path.parent / "copy") as repo:
        images = repo.checkout()["images"]
        assert (images[[0, 4]] == PIXELS[[0, 4]]).all()
        with pytest.raises(ObjectNotFoundError):
            images[[0, 40]]
        with pytest.raises(ObjectNotFoundError):
            images.read(np.array([41]))


# Depth


def test_a_depth_takes_the_newest_trees_and_all_commits(source: tv.Repository) -> None:
    with clone(source, depth=1, lazy=False) as repo:
        assert [c.summary for c in repo.log()] == ["notes 3", "labels 2", "images 1", "First"]
        assert contents(repo, "main") == contents(source, "main")
        assert contents(repo, "origin/dev") == contents(source, "dev")
        assert repo.tag_message("v1") == "One"
        assert repo.remotes["origin"].filter.depth == 1
        images = repo.stats().columns["images"]
        assert (images.version_count, images.present_version_count) == (2, 1)
        assert images.present_count == COUNT
        report = repo.verify()
        assert report.is_sound
        assert report.absent_count > 0
        # The lists of columns are here, and tell which columns changed.
        assert [c.summary for c in repo.log(column="images")] == ["images 1", "First"]
        with pytest.raises(ObjectNotFoundError, match="tree node"):
            repo.checkout("v1")["images"].keys()[0]
        with pytest.raises(ObjectNotFoundError):
            repo.blame("images")
    with clone(source, "two", depth=2, lazy=False) as repo:
        assert contents(repo, "main~1") == contents(source, "main~1")
        with pytest.raises(ObjectNotFoundError):
            repo.checkout("v1")["images"][1]


def test_a_fetch_keeps_the_depth(source: tv.Repository) -> None:
    with clone(source, depth=1, lazy=False) as repo:
        change(source, "images", 1, PIXELS[COUNT + 1])
        change(source, "images", 1, PIXELS[COUNT + 2])
        source.create_branch("old", at="v1")
        repo.fetch()
        assert contents(repo, "origin/main") == contents(source, "main")
        # Its commit was here, without the trees.
        assert contents(repo, "origin/old") == contents(source, "v1")
        with pytest.raises(ObjectNotFoundError):
            repo.checkout("origin/main~1")["images"][1]
        assert repo.fetch().moved.nbytes == 0


def test_deepening(source: tv.Repository) -> None:
    with clone(source, depth=1, lazy=False) as repo:
        moved = repo.fetch(depth=4).moved
        assert (moved.commit_count, moved.value_count) == (0, 1)
        assert contents(repo, "v1") == contents(source, "v1")
        assert repo.remotes["origin"].filter.depth == 4
        with pytest.raises(InvalidInputError, match="name none"):
            repo.fetch(branches=["main"], depth=3)
        with pytest.raises(InvalidInputError, match="depth is 0"):
            repo.fetch(depth=0)
        repo.fetch(depth="all")
        assert not repo.is_partial
        assert repo.remotes["origin"].is_promisor is False
        with Away(source):
            report = repo.verify()
            assert report.is_sound
            assert report.absent_count == 0
            assert repo.blame("images")[1].summary == "images 1"
    with tv.open(source.path) as whole, clone(whole, "whole") as repo:
        assert repo.fetch(depth=1).moved.nbytes == 0
        assert not repo.is_partial


def test_deepening_looks_below_nodes_that_were_read(source: tv.Repository) -> None:
    with source.edit() as co:
        co["labels"].update({key: key % 7 for key in range(1000, 20_000)})
        co.commit("Many")
    change(source, "labels", 1500, 3)
    with clone(source, depth=1) as repo:
        # Reads a path of the tree: its root is here then, and little of what is below it.
        assert repo.checkout("main~1")["labels"][1500] == 1500 % 7
        repo.fetch(depth="all")
        assert not repo.is_partial
        assert repo.verify().is_sound
        assert contents(repo, "main~1")["labels"] == contents(source, "main~1")["labels"]


def test_a_branch_that_gave_up_commits_is_deepened_as_far_as_it_can_be(
    source: tv.Repository,
) -> None:
    with clone(source, depth=1) as repo:
        source.delete_branch("dev", force=True)
        repo.fetch(depth="all")
        # The commit of dev is only here now; its trees had come.
        assert repo.verify().is_sound
        assert contents(repo, "origin/dev")["labels"][4] == 44


def test_a_depth_and_the_other_filters(source: tv.Repository) -> None:
    with clone(source, depth=1, columns=["images", "labels"], keys=["0:10"], lazy=False) as repo:
        assert value_count(repo) == 10
        repo.fetch(depth="all")
        assert value_count(repo) == 11
        assert repo.is_partial
        with pytest.raises(ObjectNotFoundError):
            repo.checkout()["notes"][1]
    with clone(source, "some", depth=2, max_bytes=7 * 768, columns=["images"]) as repo:
        assert value_count(repo) == 7


def test_work_in_a_clone_with_a_depth(source: tv.Repository) -> None:
    with clone(source, depth=1, lazy=False) as repo:
        change(source, "labels", 8, 88)
        change(repo, "labels", 9, 99)
        # Their base is the version that came.
        repo.pull()
        assert repo.push().movement == "fast-forward"
        assert source.checkout()["labels"][[8, 9]].tolist() == [88, 99]
        assert source.verify().is_sound
        assert repo.verify().is_sound
        repo.fetch_data("v1", columns=["notes"])
        assert repo.checkout("v1")["notes"][3] == NOTES[3]


def test_a_bundle_with_a_depth(source: tv.Repository) -> None:
    bundle = source.path.parent / "newest.bundle"
    source.create_bundle(bundle, ["main"], part=tv.Filter(depth=1))
    with tv.clone(bundle, source.path.parent / "copy") as repo:
        assert contents(repo, "main") == contents(source, "main")
        assert len(list(repo.log())) == 4
        with pytest.raises(ObjectNotFoundError, match="has not got all of it"):
            repo.checkout("main~3")["images"][1]
    with tv.clone(bundle, source.path.parent / "labels", columns=["labels"]) as repo:
        assert repo.remotes["origin"].filter.depth == 1
        with pytest.raises(InvalidInputError, match="only the newest 1 commits"):
            repo.fetch(depth=2)


# Bring it before it is read


def test_a_batch_is_brought_in_one_request(source: tv.Repository) -> None:
    with served(source.path.parent) as (url, log):
        copy = source.path.parent.parent / "copy"
        with tv.clone(f"{url}/source", copy, keys=["0:10"]) as repo:
            checkout = pickle.loads(pickle.dumps(repo.checkout()))
            images = checkout["images"]
            del log[:]
            assert images.fetch(range(10)) == 0
            assert [line for line in log if "path" in line] == []
            assert images.fetch([5, 20, -1, 20]) == 2
            assert len([line for line in log if "values" in str(line)]) == 1
            assert images.fetch(np.array([5, 20, COUNT - 1])) == 0
            # Of several columns together, a nested one among them.
            assert checkout.fetch(["images", "notes", "scans"], keys=[20, 21, 9, 999]) == 3
            assert checkout.fetch(["labels"], keys=[20]) == 0
            assert len([line for line in log if "values" in str(line)]) == 2
            assert checkout["scans"].fetch([9]) == 0
            assert (images[[20, 21]] == PIXELS[[20, 21]]).all()
            assert checkout["notes"][20] == NOTES[20]
            assert len([line for line in log if "values" in str(line)]) == 2
            with pytest.raises(IndexError):
                images.fetch([COUNT])
            with pytest.raises(InvalidInputError, match="positions are ints"):
                images.fetch([0.5])
            assert checkout["labels"].fetch([0]) == 0
            assert checkout.fetch() > 0
            assert repo.checkout().fetch() == 0
            assert images.fetch(range(COUNT)) == 0
            assert value_count(repo) == value_count(source)


def test_nothing_is_brought_where_nothing_is_absent(source: tv.Repository) -> None:
    checkout = source.checkout()
    assert checkout["images"].fetch([0, 1]) == 0
    assert checkout["scans"].fetch([0, 1]) == 0
    assert checkout["scans"].fetch([]) == 0
    assert checkout.fetch(keys=[1]) == checkout.fetch(columns=[]) == 0
    with source.edit() as co:
        co["notes"][1] = "new"
        assert co["notes"].fetch([1]) == 0


def test_threads_that_want_the_same_ask_once(source: tv.Repository) -> None:
    with clone(source, keys=["0:10"]) as repo:
        one, other = repo.checkout()["images"], pickle.loads(pickle.dumps(repo.checkout()))
        begun, may_end = threading.Event(), threading.Event()
        supply = repo._tensors.supply
        asked: list[int] = []

        def slowly(store: Any, digests: Any) -> None:
            asked.append(len(digests))
            begun.set()
            assert may_end.wait(60)
            supply(store, digests)  # type: ignore[misc]

        repo._tensors.supply = slowly
        counts: list[int] = []
        first = threading.Thread(target=lambda: counts.append(one.fetch([20, 21])))
        first.start()
        assert begun.wait(60)
        # In another store of the same folder, as a loader has it.
        second = threading.Thread(target=lambda: counts.append(other["images"].fetch([20, 21])))
        second.start()
        may_end.set()
        first.join()
        second.join()
        assert sorted(counts) == [0, 2]
        assert asked == [2]
        assert (other["images"][[20, 21]] == PIXELS[[20, 21]]).all()


def test_a_thread_asks_for_what_another_did_not_get(source: tv.Repository) -> None:
    with clone(source, keys=["0:10"]) as repo:
        one, other = repo.checkout()["images"], pickle.loads(pickle.dumps(repo.checkout()))
        begun, may_end = threading.Event(), threading.Event()

        def fail(store: Any, digests: Any) -> None:
            begun.set()
            assert may_end.wait(60)
            raise PromisorAwayError("the line was cut")

        repo._tensors.supply = fail
        problems: list[Exception] = []

        def read() -> None:
            try:
                one.fetch([20, 21])
            except PromisorAwayError as error:
                problems.append(error)

        first = threading.Thread(target=read)
        first.start()
        assert begun.wait(60)
        counts: list[int] = []
        second = threading.Thread(target=lambda: counts.append(other["images"].fetch([20, 22])))
        second.start()
        may_end.set()
        first.join()
        second.join()
        assert len(problems) == 1
        assert counts == [2]


# Findings


def test_a_budget_takes_the_same_samples_from_every_kind_of_remote(source: tv.Repository) -> None:
    root = source.path.parent
    options: dict[str, Any] = {"max_bytes": 12 * 768, "sample": "stratified:labels"}
    bundle = root / "all.bundle"
    source.create_bundle(bundle)
    taken: dict[str, list[int]] = {}
    with served(root) as (url, _):
        for name, place in (("path", source.path), ("http", f"{url}/source"), ("file", bundle)):
            folder = root.parent / name
            with tv.clone(
                place, folder, columns=["images", "labels"], seed=3, lazy=False, **options
            ) as repo:
                images = repo.checkout()["images"]
                taken[name] = [key for key in range(COUNT) if is_here(images, key)]
    assert len(taken["path"]) == 12
    assert taken["path"] == taken["http"] == taken["file"]


def is_here(column: Any, key: int) -> bool:
    try:
        column[key]
    except ObjectNotFoundError:
        return False
    return True


def test_revert_of_a_column_beside_an_absent_one_that_was_renamed(source: tv.Repository) -> None:
    with source.edit() as co:
        co.rename_column("images", "pictures")
        co["pictures"][2] = PIXELS[COUNT + 3]
        co["labels"][2] = 5
        co.commit("Rename and relabel")
    with clone(source, columns=["labels"], lazy=False) as repo:
        repo.revert("main", columns=["labels"])
        assert repo.checkout()["labels"][2] == 22
        assert "pictures" in repo.checkout().columns
        with pytest.raises(ObjectNotFoundError):
            repo.revert("main~1", columns=["pictures"])


def test_data_is_widened_by_column_key_and_bytes(source: tv.Repository) -> None:
    with clone(source, columns=["labels"], lazy=False) as repo:
        assert value_count(repo) == 0
        assert repo.fetch_data(columns=["images"], keys=["0:3"]).value_count == 3
        assert repo.fetch_data(columns=["images"], max_bytes=5 * 768).value_count == 2
        assert repo.fetch_data(columns=["notes"], keys=["3"]).value_count == 1
        assert repo.fetch_data(columns=["scans"], keys=["1"]).value_count == 2
        present = {name: c.present_count for name, c in repo.stats().columns.items()}
        assert present == {"images": 5, "labels": COUNT, "notes": 1, "scans": 2}
        text = repo.stats()._repr_html_()
        assert "5 of them here" in text
        assert "of 2 versions" in text
