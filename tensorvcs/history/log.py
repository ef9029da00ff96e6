"""The log, filtered: by column, sample, author, text, time and metadata."""

from __future__ import annotations

import datetime as dt
from itertools import islice
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import InvalidInputError
from tensorvcs.history.ancestry import read_commits
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.objects.commit import check_metadata
from tensorvcs.objects.digest import CommitDigest
from tensorvcs.objects.keys import check_key, composite_key, composite_prefix
from tensorvcs.tree import cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tensorvcs.history.commit import Commit
    from tensorvcs.history.snapshot import ColumnState
    from tensorvcs.storage.interfaces import ObjectStore
    from tensorvcs.tree.nodes import Nodes


def filter_log(
    commits: Iterable[Commit],
    objects: ObjectStore,
    nodes: Nodes,
    *,
    column: str | None = None,
    key: Any = None,
    author: str | None = None,
    grep: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    metadata: Mapping[str, str] | None = None,
    merges: bool | None = None,
    limit: int | None = None,
) -> Iterator[Commit]:
    """Yield those of `commits` that fit all filters; a filter that is None lets all pass."""
    if limit is not None and (type(limit) is not int or limit < 0):
        raise InvalidInputError(f"a limit of {limit!r} commits makes no sense; expected 0 or more")
    chosen: Iterable[Commit] = commits
    if author is not None:
        who = author.casefold()
        chosen = (commit for commit in chosen if who in str(commit.author).casefold())
    if grep is not None:
        text = grep.casefold()
        chosen = (commit for commit in chosen if text in commit.message.casefold())
    if merges is not None:
        chosen = (commit for commit in chosen if (len(commit.parents) > 1) == merges)
    if metadata is not None:
        pairs = check_metadata(metadata).items()
        chosen = (commit for commit in chosen if pairs <= commit.metadata.items())
    if since is not None:
        first = _aware("since", since)
        chosen = (commit for commit in chosen if commit.time >= first)
    if until is not None:
        last = _aware("until", until)
        chosen = (commit for commit in chosen if commit.time <= last)
    if column is not None or key is not None:
        chosen = (c for c in chosen if _touches(objects, nodes, c, column, key))
    return islice(chosen, limit)


def _aware(what: str, moment: object) -> dt.datetime:
    """Return a time with its zone; one without is local."""
    if not isinstance(moment, dt.datetime):
        raise InvalidInputError(f"{what} is a datetime, not {type(moment).__name__}")
    try:
        return moment if moment.tzinfo is not None else moment.astimezone()
    except (OverflowError, ValueError) as error:
        raise InvalidInputError(f"{what} is {moment}, which no time zone has") from error


def _touches(
    objects: ObjectStore, nodes: Nodes, commit: Commit, column: str | None, key: Any
) -> bool:
    """Tell whether a commit differs from each of its parents in a column or sample."""
    parents = read_commits(objects, [CommitDigest(bytes.fromhex(p)) for p in commit.parents])
    after = read_snapshot(objects, commit.object.snapshot)
    befores = [read_snapshot(objects, parent.snapshot) for parent in parents] or [{}]
    for before in befores:
        names = [column] if column is not None else sorted({*before, *after})
        if not any(_differs(nodes, before.get(n), after.get(n), key) for n in names):
            return False
    return True


def _differs(nodes: Nodes, before: ColumnState | None, after: ColumnState | None, key: Any) -> bool:
    if before == after or key is None:
        return before != after
    return _stored(nodes, before, key) != _stored(nodes, after, key)


def _stored(nodes: Nodes, state: ColumnState | None, key: Any) -> object:
    """Return what identifies the value of a sample in one version, None when it has none."""
    if state is None:
        return None
    if state.schema.nested != isinstance(key, tuple):
        if not state.schema.nested:
            return None
        start, stop = cursor.prefix_range(nodes, state.tree, composite_prefix(key))
        keys, values = cursor.items_at(nodes, state.tree, start, stop)
        return (tuple(keys.texts.tolist()), values.tobytes()) if stop > start else None
    if isinstance(key, tuple):
        tree_key: int | bytes = composite_key(*key)
    else:
        checked = check_key(key)
        tree_key = checked if isinstance(checked, int) else checked.encode()
    stored = cursor.get_one(nodes, state.tree, tree_key)
    return None if stored is None else (state.schema, stored)
