"""The service: who may do what, what is shown, and what is never taken."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import (
    AccessDeniedError,
    BranchInUseError,
    DigestMismatchError,
    InvalidInputError,
    NonFastForwardError,
    ObjectDamagedError,
    ObjectNotFoundError,
    RefChangedError,
    RefNameError,
    RemoteError,
    TensorVCSError,
)
from tensorvcs.history.operations import list_operations
from tensorvcs.history.refs import (
    BRANCHES,
    HEAD,
    MERGE,
    REMOTE_BRANCHES,
    STAGING,
    STASHES,
    TAGS,
    encode_commit_ref,
    encode_tag_ref,
)
from tensorvcs.objects.commit import EMPTY_SNAPSHOT, TagObject
from tensorvcs.objects.digest import CommitDigest, digest_of
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.storage.memory import MemoryTensors
from tensorvcs.sync import wire
from tensorvcs.sync.fetch import fetch
from tensorvcs.sync.push import push_branch
from tensorvcs.sync.remote_stores import remote_stores
from tensorvcs.sync.service import METHODS, WRITE_METHODS, Limits, Policy, Visitor, right_of
from tensorvcs.tree.node import Node
from tests.memory_repository import ADA, MemoryRepository
from tests.tensor_values import IMAGES, put, random_images
from tests.unit.sync.repositories import closure_problems, fill
from tests.unit.sync.services import DirectLine, service_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorvcs.sync.service import Right


@pytest.fixture
def repo() -> MemoryRepository:
    """A repository that is served."""
    return fill(MemoryRepository())


def line_to(
    repo: MemoryRepository, right: Right = "write", policy: Policy | None = None
) -> DirectLine:
    return DirectLine(service_over(repo.stores, policy=policy), right)


def ask(line: DirectLine, method: str, *contents: bytes) -> list[wire.Frame]:
    return list(line.ask(method, contents))


def swap(line: DirectLine, *changes: RefChange) -> None:
    ask(line, "swap", wire.encode_swap(changes))


# Rights


@pytest.mark.parametrize("method", METHODS)
def test_every_method_asks_for_a_right(repo: MemoryRepository, method: str) -> None:
    assert right_of(method) == ("write" if method in WRITE_METHODS else "read")
    before = repo.state()
    if method in WRITE_METHODS:
        with pytest.raises(AccessDeniedError, match="'ada' may read here, and not write") as e:
            ask(line_to(repo, "read"), method)
        assert e.value.hint == "ask for a token with the right write"
    else:
        service = line_to(repo, "read").service
        try:
            list(service.answer(method, iter([b""]), Visitor("ada", "read")))
        except TensorVCSError as error:
            assert not isinstance(error, AccessDeniedError)
    assert repo.state() == before


def test_a_right_has_those_before_it() -> None:
    rights: Sequence[Right] = ("read", "write", "admin")
    for at, right in enumerate(rights):
        assert [Visitor("a", right).has(other) for other in rights] == [
            place <= at for place in range(3)
        ]


@pytest.mark.parametrize("method", ["", "x", "objects", "_swap", "objects/get/", "hello\n"])
def test_a_method_that_there_is_not(repo: MemoryRepository, method: str) -> None:
    with pytest.raises(RemoteError, match="there is no method"):
        ask(line_to(repo), method)


def test_the_greeting_has_the_limits(repo: MemoryRepository) -> None:
    service = service_over(repo.stores, Limits(5_000_000, 6_000_000))
    (content,) = service.answer("hello", iter([]), Visitor("a", "read"))
    assert isinstance(content, bytes)
    assert wire.Greeting.decode(content) == wire.Greeting(1, 5_000_000, 6_000_000)
    assert service.max_frame_nbytes("values/take") == 5_000_000
    assert service.max_frame_nbytes("swap") == wire.FRAME_NBYTES


# What is shown


def test_only_branches_tags_and_the_current_branch_are_shown(repo: MemoryRepository) -> None:
    value = encode_commit_ref(repo.resolve("main"))
    hidden = [STAGING, MERGE, STASHES + "1", REMOTE_BRANCHES + "origin/main", "refs/other/x"]
    shown = [BRANCHES + "b", TAGS + "t"]
    for name in hidden + shown:
        repo.stores.refs.swap([RefChange(name, None, value)])
    refs = remote_stores(line_to(repo, "read")).refs
    assert set(refs.items()) == {HEAD, BRANCHES + "main", *shown}
    for prefix in (
        "",
        "r",
        "refs/",
        "refs/r",
        "refs/heads",
        BRANCHES,
        "refs/remotes/",
        "s",
        "HEAD",
    ):
        assert set(refs.items(prefix)) == {
            name for name in (HEAD, BRANCHES + "main", *shown) if name.startswith(prefix)
        }
    for name in hidden:
        assert refs.get(name) is None
    with pytest.raises(RefNameError, match="no text"):
        ask(line_to(repo), "refs", b"\xff")
    with pytest.raises(RemoteError, match="empty"):
        ask(line_to(repo), "refs")


def test_many_refs_come_in_several_frames(repo: MemoryRepository) -> None:
    value = encode_commit_ref(repo.resolve("main"))
    names = [f"{TAGS}v{number:04}" for number in range(2500)]
    repo.stores.refs.swap([RefChange(name, None, value) for name in names])
    assert len(ask(line_to(repo), "refs", b"refs/tags/")) == 3
    assert list(remote_stores(line_to(repo)).refs.items(TAGS)) == names


@pytest.mark.parametrize(
    "prefix", [b"", b"abc", b"ABCD", b"zzzz", b"a" * 65, b"../..", b"\xff" * 4]
)
def test_objects_are_not_listed(repo: MemoryRepository, prefix: bytes) -> None:
    with pytest.raises(InvalidInputError, match="no start of an id"):
        ask(line_to(repo), "objects/find", prefix)


def test_so_many_digests_and_no_more(repo: MemoryRepository) -> None:
    digests = [bytes([n % 256, n // 256]) + bytes(30) for n in range(wire.MAX_DIGESTS + 1)]
    frames = list(wire.encode_digests(digests))
    for method in ("objects/get", "objects/missing", "values/contains", "values/stored"):
        with pytest.raises(RemoteError, match="more than 32768 digests"):
            ask(line_to(repo), method, *frames)
    assert len(remote_stores(line_to(repo)).objects.missing(digests)) == len(digests)


# What is taken


def test_objects_must_come_in_order(repo: MemoryRepository) -> None:
    """Every order in which something comes before what it names is refused."""
    line = DirectLine()
    objects = list(repo.objects.objects.values())
    kinds = [content[: content.index(b" ")] for content in objects]
    for kind in (b"commit", b"snapshot"):
        with pytest.raises(ObjectNotFoundError, match="was not sent before it"):
            ask(line, "objects/put", *wire.encode_objects([objects[kinds.index(kind)]]))
    with pytest.raises(ObjectNotFoundError, match="was not sent before it"):
        ask(line, "objects/put", *wire.encode_objects(objects[::-1]))
    assert len(line.service.stores.objects.missing(list(repo.objects.objects))) == len(objects)
    ask(line, "objects/put", *wire.encode_objects(objects))
    assert line.service.stores.objects.missing(list(repo.objects.objects)) == []


def test_a_frame_of_objects_is_taken_whole_or_not_at_all(repo: MemoryRepository) -> None:
    line = DirectLine()
    good = EMPTY_SNAPSHOT.encode()
    for bad, kind in ((b"junk", ObjectDamagedError), (tag_of(repo), ObjectNotFoundError)):
        with pytest.raises(kind):
            ask(line, "objects/put", *wire.encode_objects([good, bad]))
        assert line.service.stores.objects.missing([digest_of(good)]) == [digest_of(good)]


def tag_of(repo: MemoryRepository, commit: CommitDigest | None = None) -> bytes:
    target = repo.resolve("main") if commit is None else commit
    return TagObject(target, "v1", ADA, repo.now(), "One").encode()


def test_values_that_came_before_a_bad_one_are_kept(repo: MemoryRepository) -> None:
    near = MemoryTensors()
    digests = put(near, IMAGES, random_images(3))
    first, second, third = near.stored(digests)
    bad = replace(second, digests=third.digests)
    frames = [wire.encode_values(part) for part in (first, bad, third)]
    line = line_to(repo)
    with pytest.raises(DigestMismatchError):
        ask(line, "values/take", *frames)
    assert repo.stores.tensors.contains(digests).tolist() == [True, False, False]


def test_values_that_decode_to_much_are_refused(repo: MemoryRepository) -> None:
    service = service_over(repo.stores, Limits(max_frame_nbytes=1000))
    near = MemoryTensors()
    put(near, IMAGES, random_images(1))
    (part,) = near.stored(np.frombuffer(b"".join(near.values), np.uint8).reshape(1, 32))
    with pytest.raises(RemoteError, match="decode to 2000 bytes; at most 1000"):
        big = replace(part, data=np.zeros(2000, np.uint8), sizes=np.array([2000]))
        frames = iter([wire.encode_values(big)])
        list(service.answer("values/take", frames, Visitor("a", "write")))


# What moves


def new_commit(repo: MemoryRepository, label: int = 5) -> CommitDigest:
    """Make a commit that no ref reaches, on top of main."""
    repo.branch_at("aside")
    made = repo.commit(lambda co: co["labels"].update({1: label}), "aside")
    repo.put_branch("aside", None)
    return made.digest


def test_a_push_is_recorded_by_the_server(repo: MemoryRepository) -> None:
    before, after = map(encode_commit_ref, (repo.resolve("main"), new_commit(repo)))
    remote_stores(line_to(repo)).refs.swap(
        [RefChange(BRANCHES + "main", before, after), RefChange(BRANCHES + "b", None, after)],
        b"a record that says that it was somebody else",
    )
    newest = list_operations(repo.stores.refs, 1)[0]
    assert (newest.command, newest.user, newest.description) == ("push", "ada", "main, b")
    assert {change.name for change in newest.changes} == {BRANCHES + "main", BRANCHES + "b"}


@pytest.mark.parametrize(
    "name",
    [
        HEAD,
        STAGING,
        MERGE,
        "stash/1",
        "refs/remotes/origin/main",
        "refs/x",
        "main",
        "",
        "refs/heads",
    ],
)
def test_no_other_ref_can_be_moved(repo: MemoryRepository, name: str) -> None:
    value, before = encode_commit_ref(repo.resolve("main")), repo.state()
    for change in (RefChange(name, None, value), RefChange(name, repo.stores.refs.get(name), None)):
        with pytest.raises(RefNameError, match="is no branch and no tag"):
            swap(line_to(repo, "admin"), change)
    assert repo.state() == before


@pytest.mark.parametrize(
    "name", ["", "..", "a/../b", "a b", "-x", "a\0b", "x.lock", "é" * 150, "HEAD"]
)
def test_a_name_that_is_not_legal_is_not_made(repo: MemoryRepository, name: str) -> None:
    value, before = encode_commit_ref(repo.resolve("main")), repo.state()
    for prefix in (BRANCHES, TAGS):
        with pytest.raises(RefNameError, match="is not legal"):
            swap(line_to(repo, "admin"), RefChange(prefix + name, None, value))
    assert repo.state() == before


def test_a_ref_points_at_a_commit_or_a_tag(repo: MemoryRepository) -> None:
    line, head = line_to(repo, "admin"), repo.resolve("main")
    tag, before = repo.objects.put([tag_of(repo)])[0], repo.state()
    snapshot = repo.load("main").object.snapshot
    wrong = {
        b"": RemoteError,
        b"ref refs/heads/main": RemoteError,
        b"commit 12": RemoteError,
        b"commit " + head.hex().upper().encode(): RemoteError,
        b"commit " + head.hex().encode() + b"\n": RemoteError,
        b"tag " + tag.hex().encode(): RemoteError,
        encode_commit_ref(CommitDigest(snapshot)): ObjectDamagedError,
        encode_commit_ref(CommitDigest(tag)): ObjectDamagedError,
        encode_commit_ref(CommitDigest(bytes(32))): ObjectNotFoundError,
    }
    for value, kind in wrong.items():
        with pytest.raises(kind):
            swap(line, RefChange(BRANCHES + "x", None, value))
    for value in (encode_tag_ref(head), b"tag " + b"0" * 64):  # type: ignore[arg-type]
        with pytest.raises((ObjectDamagedError, ObjectNotFoundError)):
            swap(line, RefChange(TAGS + "x", None, value))
    assert repo.state() == before
    swap(line, RefChange(TAGS + "x", None, b"tag " + tag.hex().encode()))


def test_a_tag_of_a_commit_that_is_not_there_is_refused(repo: MemoryRepository) -> None:
    (digest,) = repo.objects.put([tag_of(repo, CommitDigest(b"\1" * 32))])
    with pytest.raises(ObjectNotFoundError, match="01" * 32):
        swap(line_to(repo), RefChange(TAGS + "x", None, b"tag " + digest.hex().encode()))


def test_changes_that_are_none(repo: MemoryRepository) -> None:
    value = encode_commit_ref(repo.resolve("main"))
    line, before = line_to(repo, "admin"), repo.state()
    twice = [RefChange(BRANCHES + "x", None, value)] * 2
    many = [RefChange(f"{BRANCHES}x{n}", None, value) for n in range(1001)]
    for changes in ([], twice, many):
        with pytest.raises(RemoteError, match="are asked for"):
            swap(line, *changes)
    with pytest.raises(RemoteError, match="from nothing to nothing"):
        swap(line, RefChange(BRANCHES + "x", None, None))
    with pytest.raises(RemoteError, match="cannot be read"):
        ask(line, "swap", json.dumps({"changes": [[1, 2]]}).encode())
    assert repo.state() == before


def test_commits_are_lost_only_by_those_who_may(repo: MemoryRepository) -> None:
    head, older = map(encode_commit_ref, (repo.resolve("main"), repo.resolve("main~1")))
    for name in ("main", "wip/ada"):
        repo.put_branch(name, repo.resolve("main"))
    repo.stores.refs.swap([RefChange(TAGS + "v1", None, head)])
    before = repo.state()
    losses = {
        "main": RefChange(BRANCHES + "main", head, older),
        "wip": RefChange(BRANCHES + "wip/ada", head, older),
        "gone": RefChange(BRANCHES + "wip/ada", head, None),
        "tag": RefChange(TAGS + "v1", head, older),
        "no tag": RefChange(TAGS + "v1", head, None),
    }
    for change in losses.values():
        with pytest.raises(NonFastForwardError, match="'ada' may not do; nothing was moved") as e:
            swap(line_to(repo), change)
        assert "right admin" in (e.value.hint or "")
        assert repo.state() == before
    policy = Policy(("wip/*", "v*"))
    for kind in ("main", "tag", "no tag"):
        with pytest.raises(NonFastForwardError):
            swap(line_to(repo, policy=policy), losses[kind])
    swap(line_to(repo, policy=policy), losses["wip"])
    swap(line_to(repo, policy=policy), replace(losses["gone"], before=older))
    for kind in ("main", "tag"):
        swap(line_to(repo, "admin"), losses[kind])
    swap(line_to(repo, "admin"), RefChange(TAGS + "v1", older, None))


def test_the_current_branch_stays(repo: MemoryRepository) -> None:
    head = encode_commit_ref(repo.resolve("main"))
    with pytest.raises(BranchInUseError, match="'main' is the current one of the remote"):
        swap(line_to(repo, "admin"), RefChange(BRANCHES + "main", head, None))


def test_what_moved_meanwhile_is_not_moved_again(repo: MemoryRepository) -> None:
    head = encode_commit_ref(repo.resolve("main"))
    other = encode_commit_ref(new_commit(repo))
    for before in (None, other):
        with pytest.raises(RefChangedError):
            swap(line_to(repo, "admin"), RefChange(BRANCHES + "main", before, head))


def test_a_push_goes_through_all_of_it(repo: MemoryRepository) -> None:
    """Clone over the line, commit, and push: also after the answer of the swap was lost."""
    line = line_to(repo)
    mine = MemoryRepository()
    fetch(remote_stores(line), mine.stores, "origin", user="bob", now=mine.now())
    mine.put_branch("main", repo.resolve("main"))
    made = mine.commit(lambda co: co["names"].update({"key/1": "another"}))

    class Deaf(DirectLine):
        def ask(self, method: str, contents: Any, *, is_repeatable: bool = True) -> Any:
            answer = list(super().ask(method, contents, is_repeatable=is_repeatable))
            if method == "swap":
                raise RemoteError("the answer was lost")
            return iter(answer)

    deaf = Deaf(line.service, "write")
    with pytest.raises(RemoteError, match="lost"):
        push_branch(mine.stores, remote_stores(deaf), "origin", "main", user="bob", now=mine.now())
    assert repo.resolve("main") == made.digest
    again = push_branch(
        mine.stores, remote_stores(line), "origin", "main", user="bob", now=mine.now()
    )
    assert again.movement == "up to date"
    assert repo.content() == mine.content()


def test_leaves_whose_values_somebody_kept_to_himself(repo: MemoryRepository) -> None:
    """A push does not trust that the values of a leaf are there because the leaf is."""
    line = line_to(repo)
    mine = MemoryRepository()
    fetch(remote_stores(line), mine.stores, "origin", user="bob", now=mine.now())
    mine.put_branch("main", repo.resolve("main"))
    known = set(mine.objects.objects)
    mine.commit(lambda co: co["names"].update({"key/1": "another", "key/5": "a third"}))
    rows = np.random.default_rng(7).integers(0, 255, (3, 5, 5, 4), np.uint8)
    made = mine.commit(lambda co: co["images"].extend(rows))
    nodes = [c for d, c in mine.objects.objects.items() if d not in known and c[:4] == b"node"]
    # Leaves first, as a client without good intent would have to.
    for node in sorted(nodes, key=lambda content: Node(content).level):
        ask(line, "objects/put", *wire.encode_objects([node]))
    remote = remote_stores(line)
    pushed = push_branch(mine.stores, remote, "origin", "main", user="bob", now=mine.now())
    assert pushed.moved.value_count == 5
    assert repo.resolve("main") == made.digest
    assert repo.content() == mine.content()
    assert closure_problems(repo.stores) == []


def test_a_value_that_nobody_has_is_still_refused(repo: MemoryRepository) -> None:
    mine = MemoryRepository()
    line = line_to(repo)
    fetch(remote_stores(line), mine.stores, "origin", user="bob", now=mine.now())
    mine.put_branch("main", repo.resolve("main"))
    mine.commit(lambda co: co["names"].update({"key/1": "another"}))
    before = repo.resolve("main")

    class Forgetful(DirectLine):
        def ask(self, method: str, contents: Any, *, is_repeatable: bool = True) -> Any:
            answer = list(super().ask(method, contents, is_repeatable=is_repeatable))
            # It says that it has every value, and the service behind it has not.
            return iter([b"\1" * len(part) for part in answer] if "contains" in method else answer)

    with pytest.raises(ObjectNotFoundError, match="is not whole"):
        push_branch(
            mine.stores,
            remote_stores(Forgetful(line.service, "write")),
            "origin",
            "main",
            user="bob",
            now=mine.now(),
        )
    assert repo.resolve("main") == before
