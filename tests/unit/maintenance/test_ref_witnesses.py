"""Each ref is decided by the best witness that is left, and the decision says by which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tensorvcs.history.operations import decode_operation
from tensorvcs.history.refs import (
    BRANCHES,
    HEAD,
    MERGE,
    REMOTE_BRANCHES,
    STAGING,
    TAGS,
    encode_commit_ref,
    encode_symbolic_ref,
)
from tensorvcs.maintenance.ref_witnesses import (
    DecidedNames,
    RefJudge,
    find_damaged_names,
    may_be_ref,
)
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorvcs.objects.digest import CommitDigest

MAIN, SIDE = BRANCHES + "main", BRANCHES + "side"


@dataclass(frozen=True, slots=True)
class Read:
    """One version of the database."""

    refs: Mapping[str, bytes] | None
    operations: Mapping[int, bytes] | None
    is_newest: bool = True


class Story:
    """Three commits on main, one on side, a branch that was deleted, and something staged."""

    def __init__(self) -> None:
        self.repo = repo = MemoryRepository()
        self.commits: list[CommitDigest] = []
        for _ in range(3):
            self.commits.append(repo.bare_commit(self.commits[-1:]))
            repo.put_branch("main", self.commits[-1])
        repo.put_branch("side", self.commits[0])
        repo.put_branch("gone", self.commits[1])
        repo.put_branch("gone", None)
        with repo.work() as co:
            co.add_ndarray_column("labels", (), "int64")[1] = 1
            co.flush()
        self.refs = dict(repo.stores.refs.items())
        self.log = dict(repo.stores.refs.operations())
        self.last = max(self.log)

    def decide(
        self,
        *names: Read,
        operations: Mapping[int, Sequence[bytes]] | None = None,
        refs: Mapping[str, Sequence[bytes]] | None = None,
    ) -> DecidedNames:
        judge = RefJudge(
            self.repo.stores,
            self.repo.nodes,
            allow_absent=False,
            names=names,
            operations=operations or {},
            refs=refs or {},
            commits=[d for d, c in self.repo.objects.objects.items() if c.startswith(b"commit ")],
        )
        return judge.decide()

    def on_pages(self, *numbers: int) -> dict[int, list[bytes]]:
        return {number: [self.log[number]] for number in numbers or self.log}

    def lose(self, commit: int) -> None:
        del self.repo.objects.objects[self.commits[commit]]


@pytest.fixture
def story() -> Story:
    return Story()


def witnesses(decided: DecidedNames) -> dict[str, Any]:
    return {decision.name: decision.witness for decision in decided.decisions}


def test_a_database_that_is_whole_is_believed(story: Story) -> None:
    decided = story.decide(Read(story.refs, story.log), refs={BRANCHES + "old": [b"?"]})
    assert decided.refs == story.refs
    assert decided.operations == story.log
    assert decided.next_number == story.last + 1
    assert decided.changes == ()
    assert set(witnesses(decided).values()) == {"database"}
    assert find_damaged_names(Read(story.refs, story.log)) is None


def test_the_log_tells_where_refs_are_and_what_was_deleted(story: Story) -> None:
    decided = story.decide(operations=story.on_pages())
    assert decided.refs == story.refs
    assert decided.operations == story.log
    expected = {MAIN: "operation log", SIDE: "operation log", STAGING: "operation log"}
    assert witnesses(decided) == expected | {HEAD: "nothing"}
    # What the log does not tell of is in the next operation.
    assert decided.changes == ((HEAD, None, b"ref refs/heads/main"),)


def test_a_value_that_cannot_be_is_taken_from_the_log(story: Story) -> None:
    for name in (MAIN, STAGING):
        damaged = story.refs | {name: b"commit 0123"}
        assert find_damaged_names(Read(damaged, story.log)) is not None
        decided = story.decide(Read(damaged, story.log))
        assert decided.refs == story.refs
        assert witnesses(decided)[name] == "operation log"


def test_a_name_that_was_damaged_comes_back(story: Story) -> None:
    damaged = dict(story.refs)
    damaged[BRANCHES + "maim"] = damaged.pop(MAIN)
    assert MAIN in (find_damaged_names(Read(damaged, story.log)) or "")
    decided = story.decide(Read(damaged, story.log))
    assert decided.refs[MAIN] == story.refs[MAIN]


def test_a_transaction_that_was_never_complete_is_not_believed(story: Story) -> None:
    """Its pages may have been written, but not its head."""
    before = {n: record for n, record in story.log.items() if n < 3}
    refs = {HEAD: story.refs[HEAD], MAIN: encode_commit_ref(story.commits[1])}
    decided = story.decide(Read(refs, before), operations=story.on_pages())
    assert decided.refs == refs
    assert decided.operations == before


def test_operations_that_follow_an_older_head_are_believed(story: Story) -> None:
    before = {n: record for n, record in story.log.items() if n < 3}
    refs = {HEAD: story.refs[HEAD], MAIN: encode_commit_ref(story.commits[1])}
    older = Read(refs, before, is_newest=False)
    decided = story.decide(older, operations=story.on_pages())
    assert decided.refs == story.refs
    assert decided.operations == story.log
    # Unless they begin where the database never was.
    elsewhere = Read({**refs, MAIN: encode_commit_ref(story.commits[0])}, before, is_newest=False)
    decided = story.decide(elsewhere, operations=story.on_pages())
    assert decided.refs[MAIN] == encode_commit_ref(story.commits[0])
    assert max(decided.operations) == 2


def test_behind_a_gap_the_log_is_an_older_operation(story: Story) -> None:
    left = story.on_pages(1, 2, 3, 4, story.last)
    decided = story.decide(operations=left)
    assert list(decided.operations) == [story.last]
    found = witnesses(decided)
    assert (found[MAIN], found[SIDE], found[STAGING]) == (
        "older operation", "older operation", "operation log",
    )  # fmt: skip
    assert decided.refs[MAIN] == story.refs[MAIN]
    assert {c[0] for c in decided.changes} == {HEAD, MAIN, SIDE}


def test_a_number_that_was_damaged_is_no_operation(story: Story) -> None:
    left = {**story.on_pages(), 1 << 40: [story.log[2]]}
    assert story.decide(operations=left).operations == story.log


def test_of_two_versions_of_an_operation_the_later_counts(story: Story) -> None:
    left = story.on_pages()
    left[story.last] = [b"operation 1\n{}", story.log[1], story.log[story.last]]
    decided = story.decide(operations=left)
    assert decided.operations == story.log
    assert decode_operation(1, decided.operations[story.last]).command == "edit"


def test_pages_alone_tell_the_longest_history_that_is_whole(story: Story) -> None:
    values = [encode_commit_ref(commit) for commit in story.commits]
    pages = {
        HEAD: [encode_symbolic_ref(BRANCHES + "none"), encode_symbolic_ref(SIDE)],
        MAIN: [values[0], values[2], values[1]],
        SIDE: [values[0]],
        BRANCHES + "lost": [b"commit " + b"00" * 32],
        TAGS + "v1": [values[1]],
        STAGING: [story.refs[STAGING]],
    }
    decided = story.decide(refs=pages)
    assert decided.refs == {
        HEAD: encode_symbolic_ref(SIDE),
        MAIN: values[2],
        SIDE: values[0],
        TAGS + "v1": values[1],
    }
    left_out = {d.name for d in decided.decisions if d.value is None}
    assert left_out == {BRANCHES + "lost", STAGING}
    assert all(d.problem for d in decided.decisions)
    # Of a commit that is not whole the one before it is offered.
    story.lose(0)
    decided = story.decide(refs=pages)
    assert decided.refs == {HEAD: encode_symbolic_ref(BRANCHES + "main")}


def test_a_branch_whose_commit_is_lost_stays_and_another_is_at_what_is_left(story: Story) -> None:
    story.lose(2)
    decided = story.decide(Read(story.refs, story.log))
    left = {name: value for name, value in story.refs.items() if name != STAGING}
    assert decided.refs == left | {BRANCHES + "recovered/main": encode_commit_ref(story.commits[1])}
    problems = {d.name: d.problem for d in decided.decisions if d.problem}
    assert problems[MAIN] == "that commit is lost"
    assert problems[BRANCHES + "recovered/main"].startswith("where main was before")
    # What was staged over the lost commit is of no use without it; the log still names it.
    assert problems[STAGING] == "what it names is lost"
    assert [c[0] for c in decided.changes] == [BRANCHES + "recovered/main", STAGING]
    assert decided.changes[1][1:] == (story.refs[STAGING], None)
    shown = "\n".join(map(str, decided.decisions))
    assert f"{MAIN} is at {story.commits[2].hex()[:12]} (database): that commit is lost" in shown


def test_what_was_staged_is_left_out_when_it_is_lost(story: Story) -> None:
    (snapshot,) = [d for d, c in story.repo.objects.objects.items() if b'"labels"' in c]
    del story.repo.objects.objects[snapshot]
    decided = story.decide(Read(story.refs, story.log))
    assert STAGING not in decided.refs
    assert [c[0] for c in decided.changes] == [STAGING]
    assert "left out" in str(next(d for d in decided.decisions if d.name == STAGING))


def test_commits_that_nothing_names_get_branches(story: Story) -> None:
    other = story.repo.bare_commit([story.commits[0]])
    decided = story.decide()
    recovered = {
        f"{BRANCHES}recovered/{commit.hex()[:12]}": encode_commit_ref(commit)
        for commit in (story.commits[2], other)
    }
    # The newest is the one to be on.
    head = encode_symbolic_ref(f"{BRANCHES}recovered/{other.hex()[:12]}")
    assert decided.refs == recovered | {HEAD: head}
    assert all(d.problem for d in decided.decisions)
    # Those that the log tells of are known to be of no branch, or of another.
    decided = story.decide(operations=story.on_pages())
    assert set(decided.refs) - set(story.refs) == {f"{BRANCHES}recovered/{other.hex()[:12]}"}


@pytest.mark.parametrize(
    ("name", "value", "is_one"),
    [
        (HEAD, b"ref refs/heads/main", True),
        (HEAD, b"ref refs/heads/", False),
        (HEAD, b"ref refs/heads/\xff", False),
        (MAIN, b"commit " + b"0f" * 32, True),
        (MAIN, b"commit " + b"0f" * 31, False),
        (MAIN, b"tag " + b"0f" * 32, False),
        (BRANCHES + "a..b", b"commit " + b"0f" * 32, False),
        (TAGS + "v1", b"tag " + b"0f" * 32, True),
        (REMOTE_BRANCHES + "origin/main", b"commit " + b"0f" * 32, True),
        (STAGING, b'{"base": null, "snapshot": "00"}', True),
        (STAGING, b"[]", False),
        (STAGING, b"\xff", False),
        (MERGE, b"merge " + b"0f" * 32, True),
        ("stash/1", b"stash 1\n{}", True),
        ("stash/x", b"stash 1\n{}", False),
        ("runs/first", b"run 1\n{}", True),
        ("other", b"commit " + b"0f" * 32, False),
    ],
)
def test_what_may_be_a_ref(name: str, value: bytes, is_one: bool) -> None:
    assert may_be_ref(name, value) is is_one


def test_stashes_and_runs_of_pages_come_back_where_they_can(story: Story) -> None:
    whole = b'stash 1\n{"snapshot":"' + story.commits[0].hex().encode() + b'"}'
    lost = b'stash 1\n{"snapshot":"' + b"00" * 32 + b'"}'
    pages = {"stash/1": [lost], "stash/2": [lost, whole], "runs/a": [b"run 1\n{}"]}
    decided = story.decide(refs=pages)
    assert decided.refs["stash/2"] == whole
    assert decided.refs["runs/a"] == b"run 1\n{}"
    assert "stash/1" not in decided.refs


def test_what_find_damaged_names_tells(story: Story) -> None:
    without_head = {name: value for name, value in story.refs.items() if name != HEAD}
    assert find_damaged_names(Read(without_head, story.log)) == "HEAD is gone"
    damaged = {**story.log, 2: story.log[2][:-1]}
    assert (find_damaged_names(Read(story.refs, damaged)) or "").startswith("operation 2: ")
    moved = story.refs | {MAIN: story.refs[SIDE]}
    assert "is not where the operation log left it" in (
        find_damaged_names(Read(moved, story.log)) or ""
    )
