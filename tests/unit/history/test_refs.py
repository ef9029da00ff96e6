from __future__ import annotations

from typing import Any

import pytest

from tensorvcs.errors import ObjectDamagedError, RefNameError
from tensorvcs.history.refs import (
    HEAD,
    TAGS,
    check_ref_name,
    current_branch,
    decode_ref,
    encode_commit_ref,
    encode_tag_ref,
    read_annotation,
)
from tensorvcs.objects.commit import TagObject
from tensorvcs.storage.interfaces import RefChange
from tests.memory_repository import ADA, MemoryRepository


@pytest.mark.parametrize(
    "name",
    [
        "main", "feature/one", "v1.0", "a-b_c", "é", "\U0001f600", "a.lockx", "lock", "x@y", "a@",
        "{", "1", "refs", "refsheads", "head", "a" * 200, "a'b\"c", "a%b", "dead", "$(x)", "a;b",
    ],
)  # fmt: skip
def test_names_that_git_takes_are_legal(name: str) -> None:
    assert check_ref_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        # The rules of git check-ref-format, one by one.
        ".a", "a/.b", "a.lock", "a.lock/b", "a/b.lock", "a..b", "..", "a\0b", "a\x1fb", "a\x7fb",
        "a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "/a", "a/", "a//b", "a.", "a@{b", "@",
        "a\\b",
        # Those of --branch, and ours.
        "-x", "HEAD", "", "refs/heads/x", "refs/x", "staging", "a" * 201, "é" * 101, "\ud800",
        "a\nb", "a\tb",
    ],
)  # fmt: skip
def test_names_that_git_refuses_are_not(name: str) -> None:
    with pytest.raises(RefNameError) as caught:
        check_ref_name(name)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", [None, 1, b"main", ["main"]])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(RefNameError, match="a tag name is a str"):
        check_ref_name(name, "tag")


def test_refs_point_at_commits_and_at_tags() -> None:
    repo = MemoryRepository()
    commit = repo.bare_commit()
    tag = TagObject(commit, "v1", ADA, repo.now(), "one")
    repo.stores.objects.put([tag.encode()])
    plain, annotated = encode_commit_ref(commit), encode_tag_ref(tag.digest)
    assert decode_ref(repo.stores.objects, TAGS + "v1", plain) == commit
    assert decode_ref(repo.stores.objects, TAGS + "v1", annotated) == commit
    assert read_annotation(repo.stores.objects, plain) is None
    assert read_annotation(repo.stores.objects, annotated) == tag


@pytest.mark.parametrize(
    "value", [b"", b"commit", b"commit zz", b"commit abcd", b"blob " + b"ab" * 32, b"\xff" * 80]
)
def test_a_ref_that_points_at_nothing_is_damaged(value: bytes) -> None:
    repo = MemoryRepository()
    with pytest.raises(ObjectDamagedError, match="ref refs/heads/x"):
        decode_ref(repo.stores.objects, "refs/heads/x", value)


@pytest.mark.parametrize("value", [None, b"", b"ref refs/tags/v1", b"commit " + b"ab" * 32])
def test_head_names_a_branch(value: bytes | None) -> None:
    repo = MemoryRepository()
    assert current_branch(repo.stores.refs) == "main"
    before = repo.stores.refs.get(HEAD)
    repo.stores.refs.swap([RefChange(HEAD, before, value)])
    with pytest.raises(ObjectDamagedError, match="HEAD"):
        current_branch(repo.stores.refs)
