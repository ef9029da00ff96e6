from __future__ import annotations

from typing import Any

import pytest

from tensorvcs.errors import (
    AmbiguousRevisionError,
    RevisionNotFoundError,
    RevisionSyntaxError,
)
from tensorvcs.history.refs import TAGS, encode_commit_ref, encode_tag_ref
from tensorvcs.objects.commit import TagObject
from tensorvcs.storage.interfaces import RefChange
from tests.memory_repository import ADA, MemoryRepository


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
        "refs/heads/nothing", "refs/other", "-x", "a..b", "main@{-1}", "main@{x}", "\ud800", "a\0b",
        "x" * 10_000, "HEAD~1000000", "heads/main", "staging",
    ],
)  # fmt: skip
def test_what_names_nothing_is_not_found(repo: MemoryRepository, revision: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        repo.resolve(revision)


@pytest.mark.parametrize("revision", ["", "~1", "^", None, 3, b"main"])
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
