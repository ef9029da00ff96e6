from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from tensorvcs.errors import (
    AmbiguousRevisionError,
    RevisionNotFoundError,
    RevisionSyntaxError,
)
from tensorvcs.history.commit import change_refs
from tensorvcs.history.operations import iter_operations
from tensorvcs.history.refs import TAGS, encode_commit_ref, encode_tag_ref
from tensorvcs.history.revisions import resolve, split_range
from tensorvcs.objects.commit import TagObject, Timestamp
from tensorvcs.storage.interfaces import RefChange
from tests.memory_repository import ADA, START_MICROSECONDS, MemoryRepository

if TYPE_CHECKING:
    from tensorvcs.objects.digest import CommitDigest


@pytest.fixture
def repo() -> MemoryRepository:
    """A chain c0 - c1 - c2 - c3 on main; c3 is a merge of c2 and s1; branch side is at s1."""
    made = MemoryRepository()
    commits = [made.bare_commit()]
    made.put_branch("main", commits[0])
    for _ in range(2):
        commits.append(made.bare_commit([commits[-1]]))
        made.put_branch("main", commits[-1])
    side = made.bare_commit([commits[0]], "side")
    made.put_branch("side", side)
    commits.append(made.bare_commit([commits[2], side]))
    made.put_branch("main", commits[3])
    made.stores.refs.swap([RefChange(TAGS + "v1", None, encode_commit_ref(commits[1]))])
    tag = TagObject(commits[2], "v2", ADA, made.now(), "two")
    made.stores.objects.put([tag.encode()])
    made.stores.refs.swap([RefChange(TAGS + "v2", None, encode_tag_ref(tag.digest))])
    remote = "refs/remotes/origin/main"
    made.stores.refs.swap([RefChange(remote, None, encode_commit_ref(commits[0]))])
    return made


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        ("HEAD", 3),
        ("@", 3),
        ("main", 3),
        ("refs/heads/main", 3),
        ("v1", 1),
        ("refs/tags/v1", 1),
        ("v2", 2),
        ("origin/main", 0),
        ("refs/remotes/origin/main", 0),
        ("main~0", 3),
        ("main~", 2),
        ("main~1", 2),
        ("main~3", 0),
        ("HEAD~~", 1),
        ("HEAD~1~1", 1),
        ("main^", 2),
        ("main^0", 3),
        ("main^1", 2),
        ("main^2", "side"),
        ("main^2~1", 0),
        ("main^2^", 0),
        ("main^^", 1),
        ("v2~2", 0),
        ("@{0}", 3),
        ("@{1}", 2),
        ("@{3}", 0),
        ("main@{2}", 1),
        ("HEAD@{1}", 2),
        ("@@{1}", 2),
        ("side@{0}", "side"),
        ("main@{1}~1", 1),
    ],
)
def test_a_revision_names_a_commit(repo: MemoryRepository, revision: str, message: Any) -> None:
    expected = "side" if message == "side" else f"main~{3 - message}"
    assert repo.resolve(revision) == repo.resolve(expected)


def test_ids_and_their_prefixes(repo: MemoryRepository) -> None:
    digest = repo.resolve("main~1")
    spelling = digest.hex()
    for revision in (spelling, spelling[:12], spelling[:6], spelling[:10].upper(), spelling + "^0"):
        assert repo.resolve(revision) == digest
    assert repo.resolve(spelling[:20] + "~1") == repo.resolve("main~2")
    with pytest.raises(RevisionNotFoundError):
        repo.resolve(spelling[:3])
    other = spelling[:30] + ("0" if spelling[30] != "0" else "1")
    with pytest.raises(RevisionNotFoundError, match="no commit has an id that starts with"):
        repo.resolve(other)


def test_a_prefix_of_two_commits_is_ambiguous_and_one_of_a_node_is_not() -> None:
    repo = MemoryRepository()
    first = repo.bare_commit()
    prefixes = {first.hex()[:4]: first}
    while True:
        commit = repo.bare_commit(message="again")
        if commit.hex()[:4] in prefixes:
            break
        prefixes[commit.hex()[:4]] = commit
    with pytest.raises(AmbiguousRevisionError, match="2 commits") as caught:
        repo.resolve(commit.hex()[:4])
    assert commit.hex()[:8] in str(caught.value)
    assert repo.resolve(commit.hex()[:16]) == commit
    number = 0
    while True:
        number += 1
        content = b"node %d" % number
        repo.stores.objects.put([content])
        digest = next(iter(reversed(repo.objects.objects))).hex()
        if digest[:4] in prefixes and digest[:4] != commit.hex()[:4]:
            break
    assert repo.resolve(digest[:4]) == prefixes[digest[:4]]


@pytest.mark.parametrize(
    "revision",
    [
        "nothing", "main~4", "main^3", "v1^2", "side~2", "@{9}", "side@{1}", "nothing@{0}",
        "refs/heads/nothing", "refs/other", "-x", "a..b", "\ud800", "a\0b", "nothing@{1}",
        "x" * 10_000, "HEAD~1000000", "heads/main", "staging",
    ],
)  # fmt: skip
def test_what_names_nothing_is_not_found(repo: MemoryRepository, revision: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        repo.resolve(revision)


@pytest.mark.parametrize(
    "revision", ["", "~1", "^", None, 3, b"main", "main@{-1}", "main@{x}", "@{}", "@{soon}"]
)
def test_what_is_no_revision_is_refused(repo: MemoryRepository, revision: Any) -> None:
    with pytest.raises(RevisionSyntaxError):
        repo.resolve(revision)


@pytest.mark.parametrize("revision", ["main~" + "9" * 5000, "@{" + "9" * 5000 + "}"])
def test_numbers_without_end_are_refused(repo: MemoryRepository, revision: str) -> None:
    with pytest.raises((RevisionSyntaxError, RevisionNotFoundError)):
        repo.resolve(revision)


def test_an_empty_branch_says_so() -> None:
    repo = MemoryRepository()
    for revision in ("HEAD", "main", "HEAD~1"):
        with pytest.raises(RevisionNotFoundError, match="'main' has no commits yet"):
            repo.resolve(revision)


def test_the_past_of_a_branch_that_is_gone(repo: MemoryRepository) -> None:
    side = repo.resolve("side")
    repo.put_branch("side", None)
    with pytest.raises(RevisionNotFoundError):
        repo.resolve("side")
    assert repo.resolve("side@{1}") == side


# What a name pointed at then. The clock of the repository ticks once for each commit and operation.


def now_of(repo: MemoryRepository) -> dt.datetime:
    """The time after everything that was recorded so far."""
    newest = next(iter_operations(repo.stores.refs))
    return newest.time + dt.timedelta(seconds=1)


def at(repo: MemoryRepository, revision: str) -> CommitDigest:
    now = now_of(repo)
    return resolve(repo.stores.objects, repo.stores.refs, revision, lambda: now)


def test_a_name_at_a_time(repo: MemoryRepository) -> None:
    moves = [o for o in iter_operations(repo.stores.refs) if o.description == "main"][::-1]
    for past, operation in enumerate(moves):
        for moment in (operation.time, operation.time + dt.timedelta(microseconds=999_999)):
            for name in ("", "@", "HEAD", "main", "refs/heads/main"):
                found = at(repo, f"{name}@{{{moment.isoformat()}}}")
                assert found == repo.resolve(f"main~{3 - past}")
    before = (moves[0].time - dt.timedelta(microseconds=1)).isoformat()
    with pytest.raises(RevisionNotFoundError, match="branch 'main' was not there at 2023-"):
        at(repo, f"main@{{{before}}}")
    later = moves[1].time.astimezone(dt.timezone(dt.timedelta(hours=-7))).isoformat()
    assert at(repo, f"main@{{{later}}}~1") == repo.resolve("main~3")


def test_an_age_counts_from_now(repo: MemoryRepository) -> None:
    assert at(repo, "main@{1 second ago}") == repo.resolve("main")
    assert at(repo, "main@{3.seconds}") == repo.resolve("main~1")
    assert at(repo, "@{now}") == repo.resolve("main")
    for revision in ("@{2 weeks ago}", "@{yesterday}", "@{1990-01-01}", "@{9999 years ago}"):
        with pytest.raises(RevisionNotFoundError, match="was not there at"):
            at(repo, revision)


def test_without_a_clock_no_time_has_a_meaning(repo: MemoryRepository) -> None:
    with pytest.raises(RevisionSyntaxError, match="no meaning here"):
        repo.resolve("main@{1 day ago}")


def test_tags_and_names_that_are_gone_have_a_past(repo: MemoryRepository) -> None:
    side = repo.resolve("side")
    there = next(iter_operations(repo.stores.refs)).time.isoformat()
    repo.put_branch("side", None)
    with pytest.raises(RevisionNotFoundError, match="branch 'side' was not there"):
        at(repo, "side@{now}")
    assert at(repo, f"side@{{{there}}}") == side
    # The tags of this repository were made without an entry in the log: there from the beginning.
    assert at(repo, "v2@{2001-01-01}") == at(repo, "v2@{0}") == repo.resolve("v2")
    assert at(repo, "origin/main@{now}") == repo.resolve("origin/main")
    with pytest.raises(RevisionNotFoundError, match="tag 'v1' has changed only 0 times"):
        at(repo, "v1@{1}")
    with pytest.raises(RevisionNotFoundError, match="nothing has been called 'other'"):
        at(repo, "other@{now}")


def test_clocks_that_go_backwards(repo: MemoryRepository) -> None:
    """The log is read from its end: what counts is the last operation that is not too late."""
    head, before = repo.resolve("main"), repo.resolve("main~1")
    early = Timestamp(START_MICROSECONDS - 1, 0)
    value = repo.stores.refs.get("refs/heads/main")
    change = RefChange("refs/heads/main", value, encode_commit_ref(before))
    change_refs(repo.stores, [change], command="test", description="", user="", now=early)
    moment = Timestamp(START_MICROSECONDS, 0).moment.isoformat()
    assert at(repo, f"main@{{{moment}}}") == before != head


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("a..b", ("a", "b")),
        ("..b", ("HEAD", "b")),
        ("a..", ("a", "HEAD")),
        ("..", ("HEAD", "HEAD")),
        ("v1.0..v1.1", ("v1.0", "v1.1")),
        ("main@{2.weeks.ago}..@", ("main@{2.weeks.ago}", "@")),
        ("main", None),
        ("", None),
        (None, None),
    ],
)
def test_ranges(text: Any, sides: Any) -> None:
    assert split_range(text) == sides


@pytest.mark.parametrize("text", ["a...b", "a..b..c", "....", "a.. .."])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(RevisionSyntaxError, match=r"not of the form A\.\.B"):
        split_range(text)
