"""A collection drops what nothing reaches any more, and nothing else, whatever runs beside it."""

from __future__ import annotations

import datetime as dt
import multiprocessing
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import InvalidInputError, ObjectNotFoundError, WorkInProgressError
from tensorvcs.storage import garbage_site
from tensorvcs.storage.garbage_site import GarbageSite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROWS = np.random.default_rng(0).integers(0, 256, (1500, 30, 30), np.uint8)
START = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
WEEK = dt.timedelta(weeks=1)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> dt.datetime:
        self.now += dt.timedelta(seconds=1)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage_site, "WAIT_SECONDS", 0.0)


@pytest.fixture
def repo(tmp_path: Path, clock: Clock) -> Iterator[tv.Repository]:
    with tv.init(tmp_path / "repo", user_name="Ada", user_email="ada@example.org") as made:
        made.record_as(clock=clock)
        with made.edit() as co:
            co.add_ndarray_column("images", (30, 30), "uint8").extend(ROWS[:1200])
            co.add_str_column("notes")["first"] = "a note that is too long to be inline " * 3
            co.commit("first")
        yield made


def branch_off(repo: tv.Repository, name: str = "side", seed: int = 1) -> tv.Commit:
    """Make a branch with a pack and a loose value of its own, and return its commit."""
    repo.create_branch(name)
    with repo.transaction(name, "rows") as tx:
        tx["images"].extend(ROWS[:1200] ^ seed)
    last = repo.transaction(name, "one")
    with last as tx:
        tx["images"][f"of {name}"] = ROWS[0] ^ (seed + 100)
    assert last.commit is not None
    return last.commit


def counts(repo: tv.Repository) -> tuple[int, int]:
    """Return the number of objects and of values that are stored."""
    return sum(1 for _ in repo._objects.iter_digests()), repo.stats().packs.value_count


def is_sound(repo: tv.Repository) -> bool:
    return repo.verify().is_sound


@contextmanager
def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> Iterator[None]:
    """Do something once, after the search for garbage and before anything is dropped."""
    whole = GarbageSite.exclusive
    waiting = [act]

    def exclusive(site: GarbageSite) -> Any:
        if waiting:
            waiting.pop()()
        return whole(site)

    with monkeypatch.context() as patch:
        patch.setattr(GarbageSite, "exclusive", exclusive)
        yield
    assert not waiting


def test_a_deleted_branch_is_dropped(repo: tv.Repository) -> None:
    before = counts(repo)
    branch_off(repo)
    repo.delete_branch("side", force=True)
    told = repo.gc(0, dry_run=True)
    there = counts(repo)
    report = repo.gc(0)
    assert (there[0] - report.object_count, there[1] - report.value_count) == before == counts(repo)
    assert (told.object_count, told.value_count) == (report.object_count, report.value_count)
    assert report.value_count == 1201
    assert report.value_nbytes >= 1201 * 900
    assert report.freed_nbytes >= 1200 * 900
    assert told.freed_nbytes == 0
    assert repr(told).startswith("<GcReport would drop")
    assert is_sound(repo)
    assert np.array_equal(repo.checkout()["images"][:], ROWS[:1200])
    again = repo.gc(0)
    assert (again.object_count, again.value_count) == (0, 0)


def test_what_an_operation_of_the_grace_names_is_kept(repo: tv.Repository, clock: Clock) -> None:
    before = counts(repo)
    branch_off(repo)
    repo.delete_branch("side", force=True)
    there = counts(repo)
    clock.now += WEEK
    report = repo.gc("2w")
    assert (report.object_count, report.value_count, report.operation_count) == (0, 0, 0)
    assert counts(repo) == there
    repo.undo()
    assert len(repo.checkout("side")["images"]) == 2401
    repo.delete_branch("side", force=True)
    clock.now += 3 * WEEK
    # Garbage since an operation that is forgotten now: it has waited for long enough.
    report = repo.gc("2w")
    assert report.operation_count > 0
    assert counts(repo) == before
    assert is_sound(repo)


def test_an_undo_cannot_bring_back_what_is_gone(repo: tv.Repository) -> None:
    branch_off(repo)
    repo.delete_branch("side", force=True)
    repo.gc(0)
    with pytest.raises(ObjectNotFoundError, match="tvcs gc"):
        repo.undo()
    assert "side" not in repo.branches
    number = repo.operations()[0].number
    repo.create_tag("later")
    assert [operation.number for operation in repo.operations()] == [number + 1, number]


def test_a_flush_stays_with_the_edit_that_it_began(repo: tv.Repository, clock: Clock) -> None:
    with repo.edit() as co:
        co["images"]["a"] = ROWS[0] ^ 7
        co.flush()
        clock.now += 3 * WEEK
        co["images"]["b"] = ROWS[1] ^ 7
        co.flush()
    # Both are one operation; its newer part is young.
    clock.now += WEEK
    repo.gc("2w")
    assert sum(operation.command == "edit" for operation in repo.operations()) == 2
    repo.undo()
    assert not repo.is_dirty


def test_what_no_ref_ever_named_waits_from_when_it_is_seen(
    repo: tv.Repository, clock: Clock
) -> None:
    before = counts(repo)
    tx = repo.transaction()
    with pytest.raises(KeyError), tx as co:
        co["images"].extend(ROWS[:1200] ^ 9)
        co.flush()
        raise KeyError
    there = counts(repo)
    assert there > before
    clock.now += 10 * WEEK
    report = repo.gc("2w")
    assert report.object_count == report.value_count == 0
    assert report.young_object_count == there[0] - before[0]
    clock.now += WEEK
    assert repo.gc("2w").object_count == 0
    clock.now += 2 * WEEK
    assert repo.gc("2w", dry_run=True).object_count == there[0] - before[0]
    report = repo.gc("2w")
    assert (report.object_count, report.value_count) == (there[0] - before[0], 1200)
    assert counts(repo) == before
    assert is_sound(repo)


def test_a_commit_that_is_taken_up_again_waits_anew(repo: tv.Repository, clock: Clock) -> None:
    tx = repo.edit_detached(["main"], time=START)
    with tx as co:
        co["images"]["lone"] = ROWS[0] ^ 11
        commit = co.commit("lone")
    repo.gc("2w")
    clock.now += 3 * WEEK
    repo.create_tag("found", commit)
    assert repo.gc("2w").object_count == 0
    repo.delete_tag("found")
    clock.now += WEEK
    assert repo.gc("2w").object_count == 0
    clock.now += 2 * WEEK
    repo.create_tag("newest")
    assert repo.gc("2w").object_count > 0
    assert repo.gc("2w").object_count == 0
    assert is_sound(repo)


def stage(repo: tv.Repository) -> None:
    with repo.edit() as co:
        co["images"].extend(ROWS[:1100] ^ 21)


def put_aside(repo: tv.Repository) -> None:
    stage(repo)
    repo.stash("later")


def tag(repo: tv.Repository) -> None:
    commit = branch_off(repo)
    repo.create_tag("kept", commit, message="annotated")
    repo.delete_branch("side", force=True)


def merge_with_conflicts(repo: tv.Repository) -> None:
    branch_off(repo)
    with repo.transaction("side", "theirs") as tx:
        tx["images"][0] = ROWS[0] ^ 31
    with repo.transaction("main", "ours") as tx:
        tx["images"][0] = ROWS[0] ^ 32
    repo.merge("side", keep_conflicts=True)
    repo.delete_branch("side", force=True)


def remember_a_remote(repo: tv.Repository) -> None:
    with tv.clone(repo.path, repo.path.parent / "far") as far:
        far.set_config("user.name", "Bob")
        far.set_config("user.email", "bob@example.org")
        with far.transaction(message="theirs") as tx:
            tx["images"].extend(ROWS[:1100] ^ 41)
    repo.add_remote("far", str(repo.path.parent / "far"))
    repo.fetch("far")


KEPT = [stage, put_aside, tag, merge_with_conflicts, remember_a_remote]


@pytest.mark.parametrize("act", KEPT, ids=lambda act: act.__name__)
def test_every_ref_keeps_what_it_names(repo: tv.Repository, act: Any) -> None:
    act(repo)
    repo.gc(0)  # what was made on the way
    there = counts(repo)
    values = repo.gc(0, dry_run=True)
    assert (values.object_count, values.value_count) == (0, 0)
    assert is_sound(repo)
    assert counts(repo) == there
    assert there[1] >= 2300
    if act is stage:
        assert len(repo.edit()["images"]) == 2300
    if act is put_aside:
        repo.pop_stash()
        assert repo.is_dirty
    if act is tag:
        assert len(repo.checkout("kept")["images"]) == 2401
        assert repo.tag_message("kept") == "annotated"
    if act is merge_with_conflicts:
        merge = repo.merge_in_progress
        assert merge is not None
        assert merge.open_count == 1
        merge.resolve_all("theirs")
        merge.finish()
    if act is remember_a_remote:
        assert len(repo.checkout("far/main")["images"]) == 2300


def test_what_is_being_read_is_kept(repo: tv.Repository) -> None:
    branch_off(repo)
    images = repo.checkout("side")["images"]  # the checkout itself is gone
    repo.delete_branch("side", force=True)
    there = counts(repo)
    repo.gc(0)
    assert counts(repo) == there
    assert np.array_equal(images[1200:2400], ROWS[:1200] ^ 1)
    del images
    assert repo.gc(0).value_count == 1201


def read_slowly(path: Path, revision: str, ready: Any, go_on: Any, said: Any) -> None:
    with tv.open(path) as repo:
        images = repo.checkout(revision)["images"]
        first = int(images[0].sum())
        ready.set()
        go_on.wait(60)
        said.put((first, int(images[:].astype(np.int64).sum())))


@pytest.mark.parametrize("upkeep", ["gc", "repack"])
def test_a_reader_in_another_process_goes_on(repo: tv.Repository, upkeep: str) -> None:
    branch_off(repo)
    whole = int(repo.checkout("side")["images"][:].astype(np.int64).sum())
    order = np.random.default_rng(1).permutation(1200)
    with repo.transaction("side", "out of order") as tx:
        tx["images"].extend(ROWS[order] ^ 2, keys=[f"{n:04}" for n in order])
    context = multiprocessing.get_context("spawn")
    ready, go_on, said = context.Event(), context.Event(), context.Queue()
    child = context.Process(target=read_slowly, args=(repo.path, "side~1", ready, go_on, said))
    child.start()
    assert ready.wait(60)
    if upkeep == "gc":
        repo.delete_branch("side", force=True)
        report = repo.gc(0)
        # What came later is gone, and what the other process reads is there.
        assert report.value_count == 1200
    else:
        assert repo.repack().moved_count
    go_on.set()
    assert said.get(timeout=60) == (int(ROWS[0].sum()), whole)
    child.join(60)
    assert is_sound(repo)


def test_nothing_is_dropped_while_somebody_writes(repo: tv.Repository) -> None:
    branch_off(repo)
    repo.delete_branch("side", force=True)
    there = counts(repo)
    with repo.edit(), pytest.raises(WorkInProgressError, match="is being written by process"):
        repo.gc(0)
    tx = repo.transaction()
    with tx, pytest.raises(WorkInProgressError):
        repo.gc(0)
    assert counts(repo) == there
    assert repo.gc(0).value_count == 1201


def test_two_collections_do_not_run_at_once(repo: tv.Repository) -> None:
    with repo._leases.collection(), pytest.raises(WorkInProgressError):
        repo.gc(0)
    repo.gc(0)


def test_a_branch_made_meanwhile_keeps_what_it_names(
    repo: tv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = branch_off(repo)
    repo.delete_branch("side", force=True)
    there = counts(repo)
    with between(monkeypatch, lambda: repo.create_branch("again", commit)):
        report = repo.gc(0)
    assert (report.object_count, report.value_count) == (0, 0)
    assert counts(repo) == there
    assert len(repo.checkout("again")["images"]) == 2401
    assert is_sound(repo)


def test_work_done_meanwhile_keeps_the_values_it_relied_on(
    repo: tv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch_off(repo)
    repo.delete_branch("side", force=True)

    def write_again() -> None:
        # Every value is here already, as garbage, so that none is written.
        with repo.transaction(message="again") as tx:
            tx["images"].extend(ROWS[:1200] ^ 1, keys=[f"{n}" for n in range(1200)])

    with between(monkeypatch, write_again):
        repo.gc(0)
    assert is_sound(repo)
    assert np.array_equal(repo.checkout()["images"]["7"], ROWS[7] ^ 1)


def test_what_was_put_meanwhile_and_never_named_stays_whole(
    repo: tv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = branch_off(repo)
    repo.delete_branch("side", force=True)
    made: list[tv.Commit] = []

    def commit_over_it() -> None:
        with repo.edit_detached([commit], time=START) as co:
            made.append(co.commit("over garbage"))

    with between(monkeypatch, commit_over_it):
        report = repo.gc(0)
    assert report.object_count == 0
    repo.create_branch("again", made[0])
    assert len(repo.checkout("again")["images"]) == 2401
    assert is_sound(repo)


def test_what_cannot_be_read_is_no_garbage(repo: tv.Repository) -> None:
    branch_off(repo)
    there = counts(repo)
    snapshot = repo.resolve("side").object.snapshot
    with repo._environment.write() as txn:
        assert txn.delete(snapshot, db=repo._environment.database("objects"))
    with pytest.raises(ObjectNotFoundError, match="damaged") as caught:
        repo.gc(0)
    assert "tvcs verify" in str(caught.value.hint)
    assert counts(repo)[1] == there[1]


def test_packs_that_are_mostly_in_use_stay(repo: tv.Repository) -> None:
    with repo.edit() as co:
        co["images"].extend(ROWS[:1200] ^ 1, keys=[f"{n}" for n in range(1200)])
        co.commit("more")
        co["images"].extend(ROWS[:100] ^ 3, keys=[f"{n}" for n in range(100)])
        co.commit("changed", amend=True)
    report = repo.gc(0)
    assert report.scattered_value_count == 100
    assert report.value_count == 0
    assert is_sound(repo)


def test_a_length_that_is_none(repo: tv.Repository) -> None:
    for wrong in ("soon", -1, True, "2 parsecs", None):
        with pytest.raises(InvalidInputError, match="no length of time"):
            repo.gc(wrong)  # type: ignore[arg-type]
    for few in (-1, 1.5, True):
        with pytest.raises(InvalidInputError, match="cannot keep"):
            repo.gc(keep_bytes=few)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="no remote would give"):
        repo.gc(keep_bytes=0)
