"""Revisions: what a user types to name a commit.

Grammar: a name followed by any number of ``~n``, ``^n`` and ``^``. The name is ``HEAD`` or
``@``, a branch, a tag, ``remote/branch``, a commit id or at least four of its first digits, or
``@{n}`` and ``branch@{n}`` for what a branch pointed at n changes ago.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tensorvcs.errors import (
    AmbiguousRevisionError,
    ObjectDamagedError,
    RevisionNotFoundError,
    RevisionSyntaxError,
    with_hint,
)
from tensorvcs.history.ancestry import read_commit
from tensorvcs.history.operations import list_operations
from tensorvcs.history.refs import BRANCHES, HEAD, REMOTE_BRANCHES, TAGS, current_branch, decode_ref
from tensorvcs.objects.commit import CommitObject
from tensorvcs.objects.digest import DIGEST_NBYTES, CommitDigest

if TYPE_CHECKING:
    from tensorvcs.storage.interfaces import ObjectStore, RefStore

MIN_PREFIX_DIGITS = 4
_SUFFIX = re.compile(r"[~^][0-9]*")
_REVISION = re.compile(r"(?P<name>.*?)(?P<suffixes>(?:[~^][0-9]{0,9})*)\Z", re.DOTALL)
_PAST = re.compile(r"(?P<branch>.*)@\{(?P<steps>[0-9]{1,9})\}\Z", re.DOTALL)


def resolve(objects: ObjectStore, refs: RefStore, revision: str) -> CommitDigest:
    """Return the commit that `revision` names.

    Raises
    ------
    RevisionNotFoundError
        Nothing has that name, or the branch has no commit yet.
    AmbiguousRevisionError
        An id prefix fits several commits.
    RevisionSyntaxError
        The text cannot be a revision.
    """
    if not isinstance(revision, str) or not revision:
        raise RevisionSyntaxError(f"a revision is a text that is not empty, not {revision!r}")
    match = _REVISION.match(revision)
    assert match is not None
    name = match["name"]
    if not name:
        raise RevisionSyntaxError(f"revision {revision!r} has no name before its suffix")
    digest = _resolve_name(objects, refs, name, revision)
    for suffix in _SUFFIX.findall(match["suffixes"]):
        count = int(suffix[1:] or 1)
        if suffix[0] == "~":
            for _ in range(count):
                digest = _parent(objects, digest, 1, revision)
        elif count:
            digest = _parent(objects, digest, count, revision)
    return digest


def _parent(objects: ObjectStore, digest: CommitDigest, number: int, revision: str) -> CommitDigest:
    parents = read_commit(objects, digest).parents
    if number > len(parents):
        raise RevisionNotFoundError(
            f"revision {revision!r}: commit {digest.hex()[:12]} has {len(parents)} parents; "
            f"parent {number} was asked for"
        )
    return parents[number - 1]


def _resolve_name(objects: ObjectStore, refs: RefStore, name: str, revision: str) -> CommitDigest:
    if name in (HEAD, "@"):
        branch = current_branch(refs)
        value = refs.get(BRANCHES + branch)
        if value is None:
            raise RevisionNotFoundError(f"branch {branch!r} has no commits yet")
        return decode_ref(objects, BRANCHES + branch, value)
    past = _PAST.match(name)
    if past:
        return _past_value(objects, refs, past["branch"], int(past["steps"]), revision)
    for full_name in (BRANCHES + name, TAGS + name, REMOTE_BRANCHES + name, name):
        value = refs.get(full_name) if full_name.startswith("refs/") else None
        if value is not None:
            return decode_ref(objects, full_name, value)
    if re.fullmatch(rf"[0-9a-fA-F]{{{MIN_PREFIX_DIGITS},{2 * DIGEST_NBYTES}}}", name):
        return _by_prefix(objects, name.lower())
    if name == _empty_branch(refs):
        raise RevisionNotFoundError(f"branch {name!r} has no commits yet")
    raise with_hint(
        RevisionNotFoundError(f"no branch, tag or commit is called {name!r}"),
        "'tvcs log', 'tvcs branch' and 'tvcs tag' list what there is",
    )


def _empty_branch(refs: RefStore) -> str | None:
    branch = current_branch(refs)
    return branch if refs.get(BRANCHES + branch) is None else None


def _by_prefix(objects: ObjectStore, prefix: str) -> CommitDigest:
    commits: list[CommitDigest] = []
    for digest in objects.find(prefix, limit=1000):
        try:
            CommitObject.decode(objects.get([digest])[0])
        except ObjectDamagedError:
            continue  # a node or a snapshot with the same first digits
        commits.append(CommitDigest(digest))
    if not commits:
        raise RevisionNotFoundError(f"no commit has an id that starts with {prefix!r}")
    if len(commits) > 1:
        shown = ", ".join(digest.hex()[: len(prefix) + 6] for digest in commits[:5])
        raise AmbiguousRevisionError(
            f"{len(commits)} commits have ids that start with {prefix!r}: {shown}"
        )
    return commits[0]


def _past_value(
    objects: ObjectStore, refs: RefStore, branch: str, steps: int, revision: str
) -> CommitDigest:
    name = BRANCHES + (current_branch(refs) if branch in ("", "@", HEAD) else branch)
    value = refs.get(name)
    left = steps
    if left:
        for operation in list_operations(refs):
            for change in operation.changes:
                if change.name == name and left:
                    value, left = change.before, left - 1
            if not left:
                break
    if value is None or left:
        raise RevisionNotFoundError(
            f"revision {revision!r}: branch {name[len(BRANCHES) :]!r} has changed only "
            f"{steps - left} times"
        )
    return decode_ref(objects, name, value)
