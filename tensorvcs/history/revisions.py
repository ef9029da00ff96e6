"""Revisions: what a user types to name a commit.

Grammar: a name followed by any number of ``~n``, ``^n`` and ``^``. The name is ``HEAD`` or
``@``, a branch, a tag, ``remote/branch``, a commit id or at least four of its first digits, or
``@{n}`` and ``branch@{n}`` for what a branch pointed at n changes ago, or ``@{time}`` and
``name@{time}`` for what a branch or tag pointed at then, such as ``main@{2026-01-31}`` or
``@{2 weeks ago}``. ``A..B`` is a range: what B reaches and A does not.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from tensorvcs.errors import (
    AmbiguousRevisionError,
    InvalidInputError,
    ObjectDamagedError,
    RevisionNotFoundError,
    RevisionSyntaxError,
    with_hint,
)
from tensorvcs.history.ancestry import read_commit
from tensorvcs.history.operations import iter_operations
from tensorvcs.history.refs import BRANCHES, HEAD, REMOTE_BRANCHES, TAGS, current_branch, decode_ref
from tensorvcs.objects.commit import CommitObject, Timestamp
from tensorvcs.objects.digest import DIGEST_NBYTES, CommitDigest
from tensorvcs.objects.moments import parse_moment

if TYPE_CHECKING:
    from tensorvcs.storage.interfaces import ObjectStore, RefStore

MIN_PREFIX_DIGITS = 4
_SUFFIX = re.compile(r"[~^][0-9]*")
_REVISION = re.compile(r"(?P<name>.*?)(?P<suffixes>(?:[~^][0-9]{0,9})*)\Z", re.DOTALL)
_PAST = re.compile(r"(?P<name>.*?)@\{(?P<when>[^{}]*)\}\Z", re.DOTALL)
_STEPS = re.compile(r"[0-9]{1,9}")

Now = Callable[[], dt.datetime]


def split_range(text: str) -> tuple[str, str] | None:
    """Return the two revisions of a range ``A..B``, or None when the text is no range.

    A side that is left out is HEAD.

    Raises
    ------
    RevisionSyntaxError
        It is ``A...B``, or has more than two sides.
    """
    start, dots, end = text.partition("..") if isinstance(text, str) else ("", "", "")
    if not dots:
        return None
    if end.startswith(".") or ".." in end:
        raise RevisionSyntaxError(f"range {text[:80]!r} is not of the form A..B")
    return start or HEAD, end or HEAD


def resolve(
    objects: ObjectStore, refs: RefStore, revision: str, now: Now | None = None
) -> CommitDigest:
    """Return the commit that `revision` names.

    Parameters
    ----------
    now : callable, optional
        Returns the time now, an aware datetime; only revisions with an age ask for it.

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
    digest = _resolve_name(objects, refs, name, revision, now)
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
            f"revision {revision!r}: commit {digest.hex()[:12]} has {len(parents)} "
            f"{'parent' if len(parents) == 1 else 'parents'}; parent {number} was asked for"
        )
    return parents[number - 1]


def _resolve_name(
    objects: ObjectStore, refs: RefStore, name: str, revision: str, now: Now | None
) -> CommitDigest:
    if name in (HEAD, "@"):
        branch = current_branch(refs)
        value = refs.get(BRANCHES + branch)
        if value is None:
            raise _no_commits_yet(branch)
        return decode_ref(objects, BRANCHES + branch, value)
    past = _PAST.match(name)
    if past:
        full_name = _past_name(refs, past["name"], revision)
        if _STEPS.fullmatch(past["when"]):
            value = _value_before(refs, full_name, int(past["when"]), revision)
        else:
            value = _value_at(refs, full_name, past["when"], revision, now)
        return decode_ref(objects, full_name, value)
    for full_name in (BRANCHES + name, TAGS + name, REMOTE_BRANCHES + name, name):
        value = refs.get(full_name) if full_name.startswith("refs/") else None
        if value is not None:
            return decode_ref(objects, full_name, value)
    if re.fullmatch(rf"[0-9a-fA-F]{{{MIN_PREFIX_DIGITS},{2 * DIGEST_NBYTES}}}", name):
        return _by_prefix(objects, name.lower())
    if name == _empty_branch(refs):
        raise _no_commits_yet(name)
    raise with_hint(
        RevisionNotFoundError(f"no branch, tag or commit is called {name!r}"),
        "'tvcs log', 'tvcs branch' and 'tvcs tag' list what there is",
    )


def _no_commits_yet(branch: str) -> RevisionNotFoundError:
    return with_hint(
        RevisionNotFoundError(f"branch {branch!r} has no commits yet"),
        "'tvcs commit -m MESSAGE' records the first",
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


def _past_name(refs: RefStore, name: str, revision: str) -> str:
    """Return the full name of a ref that is there, or was: the one that was last."""
    if name in ("", "@", HEAD):
        return BRANCHES + current_branch(refs)
    prefixes = (BRANCHES, TAGS, REMOTE_BRANCHES)
    candidates = [name] if name.startswith(prefixes) else [prefix + name for prefix in prefixes]
    for full_name in candidates:
        if refs.get(full_name) is not None:
            return full_name
    for operation in iter_operations(refs):
        for change in operation.changes:
            if change.name in candidates:
                return change.name
    raise RevisionNotFoundError(f"revision {revision!r}: nothing has been called {name!r}")


def _value_before(refs: RefStore, name: str, steps: int, revision: str) -> bytes:
    """Return what a ref pointed at some changes ago."""
    value = refs.get(name)
    left = steps
    if left:
        for operation in iter_operations(refs):
            for change in operation.changes:
                if change.name == name and left:
                    value, left = change.before, left - 1
            if not left:
                break
    if value is None or left:
        raise RevisionNotFoundError(
            f"revision {revision!r}: {_spoken(name)} has changed only {steps - left} times"
        )
    return value


def _value_at(refs: RefStore, name: str, when: str, revision: str, now: Now | None) -> bytes:
    """Return what a ref pointed at after the last operation that was not later than a time."""
    try:
        moment = parse_moment(when)
    except InvalidInputError as error:
        raise RevisionSyntaxError(
            f"revision {revision[:80]!r}: {when[:40]!r} is neither a number of changes nor a time; "
            "write @{2}, @{2026-01-31} or '@{2 weeks ago}'"
        ) from error
    if now is None:
        raise RevisionSyntaxError(f"revision {revision!r}: a time has no meaning here")
    bound = Timestamp.of(moment(now()))
    value = refs.get(name)
    for operation in iter_operations(refs):
        if operation.timestamp.microseconds <= bound.microseconds:
            break
        for change in operation.changes:
            if change.name == name:
                value = change.before
    if value is None:
        raise with_hint(
            RevisionNotFoundError(
                f"revision {revision!r}: {_spoken(name)} was not there at "
                f"{bound.moment:%Y-%m-%d %H:%M:%S %z}"
            ),
            "'tvcs op log' lists when it was made and moved",
        )
    return value


def _spoken(name: str) -> str:
    kinds = {BRANCHES: "branch", TAGS: "tag", REMOTE_BRANCHES: "remote branch"}
    prefix = next(prefix for prefix in kinds if name.startswith(prefix))
    return f"{kinds[prefix]} {name[len(prefix) :]!r}"
