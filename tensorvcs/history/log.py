"""The log, filtered: by column, sample, author, text, time and metadata."""

from __future__ import annotations

import datetime as dt
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import InvalidInputError, ObjectNotFoundError
from tensorvcs.history.ancestry import read_commits
from tensorvcs.history.difference.renames import find_renames
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.objects.commit import check_metadata
from tensorvcs.objects.keys import check_key, composite_key, composite_prefix
from tensorvcs.tree import cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tensorvcs.history.commit import Commit
    from tensorvcs.history.snapshot import Columns, ColumnState
    from tensorvcs.objects.digest import CommitDigest
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
    if column is not None:
        # First, since it follows the names of the column from commit to commit.
        followed = _FollowedColumn(objects, nodes, column)
        chosen = (commit for commit in chosen if followed.is_changed_by(commit, key))
    elif key is not None:
        chosen = (commit for commit in chosen if _touches_key(objects, nodes, commit, key))
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
    return islice(chosen, limit)


def _aware(what: str, moment: object) -> dt.datetime:
    """Return a time with its zone; one without is local."""
    if not isinstance(moment, dt.datetime):
        raise InvalidInputError(f"{what} is a datetime, not {type(moment).__name__}")
    try:
        return moment if moment.tzinfo is not None else moment.astimezone()
    except (OverflowError, ValueError) as error:
        raise InvalidInputError(f"{what} is {moment}, which no time zone has") from error


def _versions(objects: ObjectStore, commit: Commit) -> tuple[Columns, list[Columns]]:
    """Return the columns of a commit, and those of each parent; of a first commit one without."""
    parents = read_commits(objects, commit.object.parents)
    befores = [read_snapshot(objects, parent.snapshot) for parent in parents]
    return read_snapshot(objects, commit.object.snapshot), befores or [{}]


def _touches_key(objects: ObjectStore, nodes: Nodes, commit: Commit, key: Any) -> bool:
    """Tell whether a commit differs from each of its parents in a sample, of any column."""
    after, befores = _versions(objects, commit)
    return all(
        any(_differs(nodes, before.get(n), after.get(n), key) for n in {*before, *after})
        for before in befores
    )


class _FollowedColumn:
    """A column under the names that it had; asked about commits, children before parents."""

    def __init__(self, objects: ObjectStore, nodes: Nodes, column: str) -> None:
        self._objects = objects
        self._nodes = nodes
        self._column = column
        # By commit, what its children call the column there; lines of work may differ in that.
        self._names: dict[CommitDigest, set[str]] = {}

    def is_changed_by(self, commit: Commit, key: Any) -> bool:
        """Tell whether a commit differs from each of its parents in the column, or a sample."""
        after, befores = _versions(self._objects, commit)
        names = self._names.pop(commit.digest, {self._column})
        is_changed = True
        for parent, before in zip_longest(commit.object.parents, befores):
            earlier = {name: self._name_before(before, after, name) for name in names}
            if parent is not None:
                self._names.setdefault(parent, set()).update(earlier.values())
            is_changed &= any(
                (key is None and old != name)
                or _differs(self._nodes, before.get(old), after.get(name), key)
                for name, old in earlier.items()
            )
        return is_changed

    def _name_before(self, before: Columns, after: Columns, name: str) -> str:
        if name in before or name not in after:
            return name
        try:
            renames = find_renames(self._nodes, before, after)
        except ObjectNotFoundError:
            # A tree that is not here, as in a partial clone, cannot be compared.
            return name
        return next((old for old, new in renames.items() if new == name), name)


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
