from __future__ import annotations

from tensorvcs.checkout.ref_moves import RefMove, RefTarget, describe_changes
from tensorvcs.checkout.stash import StashRecord
from tensorvcs.history.refs import (
    BRANCHES,
    HEAD,
    MERGE,
    STAGING,
    STASHES,
    TAGS,
    encode_commit_ref,
    encode_tag_ref,
)
from tensorvcs.objects.commit import TagObject, Timestamp
from tensorvcs.objects.digest import CommitDigest, SnapshotDigest
from tensorvcs.storage.interfaces import RefChange
from tests.memory_repository import ADA, MemoryRepository

ABSENT = CommitDigest(b"\1" * 32)


def describe(repo: MemoryRepository, name: str, value: bytes) -> RefTarget:
    (move,) = describe_changes(repo.objects, [RefChange(name, None, value)])
    assert (move.ref, move.before) == (name, None)
    assert move.after is not None
    return move.after


def test_values_of_each_kind() -> None:
    repo = MemoryRepository()
    commit = repo.commit(lambda co: co.add_str_column("texts"), message="First\n\nmore")
    tag = TagObject(commit.digest, "v1", ADA, repo.now(), "one")
    repo.objects.put([tag.encode()])
    staging = b'{"base": "%s", "snapshot": "%s"}' % (commit.id.encode(), b"0" * 64)
    stash = StashRecord(None, SnapshotDigest(b"\2" * 32), "main", "half", "", Timestamp(0))
    told = [
        (HEAD, b"ref refs/heads/a/b", RefTarget("branch a/b")),
        (BRANCHES + "main", encode_commit_ref(commit.digest),
         RefTarget(f"commit {commit.short_id}", commit)),
        (TAGS + "v1", encode_tag_ref(tag.digest), RefTarget(f"commit {commit.short_id}", commit)),
        (STAGING, staging, RefTarget(f"changes over {commit.short_id}", commit)),
        (STASHES + "1", stash.encode(), RefTarget("'half', changes over no commit")),
        (MERGE, b"merge 00", RefTarget("a merge that waits")),
        (BRANCHES + "x", encode_commit_ref(ABSENT), RefTarget("commit 010101010101")),
    ]  # fmt: skip
    for name, value, expected in told:
        assert describe(repo, name, value) == expected
    assert str(told[1][2]) == f"commit {commit.short_id} First"
    assert str(told[0][2]) == "branch a/b"


def test_values_that_cannot_be_read() -> None:
    repo = MemoryRepository()
    for name in (BRANCHES + "main", TAGS + "v1", STAGING, STASHES + "1"):
        assert describe(repo, name, b"\xff?") == RefTarget("a value that cannot be read: '\ufffd?'")
    absent = encode_tag_ref(ABSENT)  # type: ignore[arg-type]
    assert describe(repo, TAGS + "v1", absent).text.startswith("a value that cannot be read")


def test_both_sides() -> None:
    repo = MemoryRepository()
    one = repo.commit(lambda co: co.add_str_column("a"), message="a")
    two = repo.commit(lambda co: co.add_str_column("b"), message="b")
    values = [encode_commit_ref(commit.digest) for commit in (one, two)]
    changes = [RefChange("refs/heads/x", *values), RefChange("refs/heads/y", values[0], None)]
    targets = [RefTarget(f"commit {commit.short_id}", commit) for commit in (one, two)]
    assert describe_changes(repo.objects, changes) == [
        RefMove("refs/heads/x", *targets),
        RefMove("refs/heads/y", targets[0], None),
    ]
