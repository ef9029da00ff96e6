"""Cherry-pick and revert: the changes of single commits, or a part of them, made on other columns.

A commit's change is what differs from its parent to itself; a revert takes it the other way round.
The part that was asked for is merged three-way, sample by sample: base is where the change starts,
theirs where it ends. Many commits are taken one after the other in memory, and what is made on the
way is not stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tensorvcs.errors import ColumnNotFoundError, EmptyPickError, MainlineError, with_hint
from tensorvcs.history.ancestry import read_commit, walk
from tensorvcs.history.commit import Commit
from tensorvcs.history.log import filter_log
from tensorvcs.history.merging.merge_progress import Intent
from tensorvcs.history.picking.partial import apply_part, renames_among, transplant
from tensorvcs.history.picking.selection import Selection, chooser
from tensorvcs.history.snapshot import ColumnState, holds_same_values, read_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tensorvcs.history.merging.column_merge import MergedColumns
    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.storage.interfaces import ObjectStore
    from tensorvcs.tree.nodes import Nodes

    Merge = Callable[[Columns, Columns, Columns, Commit], MergedColumns]
    """Called with base, ours, theirs and the commit that is picked."""

PickVerb = Literal["cherry-pick", "revert"]

_LISTED_COMMITS = 20


@dataclass(frozen=True, slots=True)
class PickRequest:
    """What is to be picked or reverted, and how.

    Attributes
    ----------
    verb : {"cherry-pick", "revert"}
    spoken : str
        The commit or the range as the caller named it.
    end : Commit
        The commit, or the newest of the range.
    start : CommitDigest or None
        The commit that the range begins behind; None for one commit alone.
    selection : Selection
        Which part of the changes is taken.
    author : str or None
        Only commits whose author's name or mail contains this text, in any case.
    mainline : int or None
        Which parent of a merge the change is seen from, from 1.
    message : str or None
    metadata : mapping of str to str
        Pairs that every new commit gets.
    """

    verb: PickVerb
    spoken: str
    end: Commit
    start: CommitDigest | None = None
    selection: Selection = field(default_factory=Selection)
    author: str | None = None
    mainline: int | None = None
    message: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one commit: from `start` to `goal`, the part that was asked for only."""

    commit: Commit
    start: Columns
    goal: Columns


def requested_commits(nodes: Nodes, request: PickRequest) -> list[Commit]:
    """Return the commits that a request is about, oldest first; of a range without the merges.

    Raises
    ------
    EmptyPickError
        There are none.
    """
    commits: Iterable[Commit] = [request.end]
    merges = None
    if request.start is not None:
        reached = walk(nodes.objects, [request.end.digest], without=[request.start])
        commits = (Commit(digest, commit) for digest, commit in reached)
        merges = False
    chosen = list(filter_log(commits, nodes.objects, nodes, author=request.author, merges=merges))
    if not chosen:
        who = f" by {request.author!r}" if request.author else ""
        problem = f"{request.spoken} has no commits{who} that are no merges"
        if request.start is None:
            problem = f"commit {request.end.short_id} is by {request.end.author}, not{who}"
        raise with_hint(EmptyPickError(problem), f"'tvcs log {request.spoken}' lists the commits")
    return chosen[::-1]


def versions_of(
    objects: ObjectStore, commit: Commit, mainline: int | None
) -> tuple[Columns, Columns]:
    """Return the columns before a commit and after it.

    Parameters
    ----------
    mainline : int, optional
        The parent that counts as before, from 1; needed for a merge commit.

    Raises
    ------
    MainlineError
        The commit has several parents and none is named, or it has no such parent.
    """
    parents = commit.object.parents
    if mainline is None and len(parents) > 1:
        shown = ", ".join(f"{at + 1} is {p.hex()[:12]}" for at, p in enumerate(parents))
        raise with_hint(
            MainlineError(
                f"commit {commit.short_id} is a merge of {len(parents)} parents ({shown}); "
                "its change depends on which one is kept"
            ),
            "name the parent to keep: --mainline 1, or mainline=1",
        )
    if mainline is not None and not (
        type(mainline) is int and 1 <= mainline <= max(1, len(parents))
    ):
        raise with_hint(
            MainlineError(
                f"commit {commit.short_id} has no parent {mainline!r}; it has {len(parents)}"
            ),
            f"'tvcs show {commit.short_id}' lists its parents, from 1",
        )
    before: Columns = {}
    if parents:
        parent = read_commit(objects, parents[(mainline or 1) - 1])
        before = read_snapshot(objects, parent.snapshot)
    return before, read_snapshot(objects, commit.object.snapshot)


def requested_changes(
    nodes: Nodes, request: PickRequest, commits: Sequence[Commit]
) -> list[Change]:
    """Return the selected part of the change of each commit, in the order in which to make them.

    Parameters
    ----------
    commits : sequence of Commit
        Oldest first; a revert begins with the newest. Columns are selected by their names in the
        newest commit; where an older one has another name for it, it is followed.

    Raises
    ------
    MainlineError
    ColumnNotFoundError
        None of the commits has a column of that name before or after it.
    EmptyPickError
        Nothing that is selected was changed.
    """
    selection = request.selection
    changes: list[Change] = []
    names = None if selection.columns is None else {*selection.columns}
    known: set[str] = set()
    for commit in reversed(commits):
        before, after = versions_of(nodes.objects, commit, request.mainline)
        known |= {*before, *after}
        start, goal = (after, before) if request.verb == "revert" else (before, after)
        choose = None if selection.keys is None else chooser(start, goal, selection.keys)
        goal = apply_part(nodes, start, goal, choose, names)
        if goal != start:
            changes.append(Change(commit, start, goal))
        if names is not None:
            renames = renames_among(nodes, before, after, names)
            renamed = {new: old for old, new in renames.items()}
            names = {renamed.get(name, name) for name in names}
    for name in selection.columns or ():
        if name not in known:
            raise with_hint(
                ColumnNotFoundError(
                    f"no column {name!r} in what is picked; there are: "
                    f"{', '.join(sorted(known)) or 'none'}"
                ),
                "'tvcs show REV' lists what a commit changes",
            )
    if not changes:
        part = "nothing" if selection.is_everything else f"nothing of {selection}"
        raise with_hint(
            EmptyPickError(f"{request.spoken} changes {part}"),
            "'tvcs show REV' lists what a commit changes",
        )
    return changes if request.verb == "revert" else changes[::-1]


def make_changes(
    nodes: Nodes, ours: Columns, changes: Sequence[Change], merge: Merge
) -> Iterator[tuple[Change, MergedColumns]]:
    """Make changes on columns, one after the other, each by a three-way merge.

    Yields
    ------
    tuple of Change and MergedColumns
        After each change, what all so far have made.

    Notes
    -----
    Cost follows the changes, not how far `ours` is from them.
    """
    columns = ours
    for change in changes:
        base, theirs = _near(nodes, change, columns)
        merged = merge(base, columns, theirs, change.commit)
        columns = merged.columns
        yield change, merged


def _near(nodes: Nodes, change: Change, ours: Columns) -> tuple[Columns, Columns]:
    """Return start and goal of a change with all that it leaves alone taken from ours.

    Where start and goal agree, a merge keeps ours whatever they have; so the outcome is the same,
    and the merge reads no more than what the change touches.
    """
    start, goal = dict(change.start), dict(change.goal)
    for name, mine in ours.items():
        before, after = start.get(name), goal.get(name)
        if before is None or after is None:
            continue
        if before == after:
            start[name] = goal[name] = mine
        elif holds_same_values(before.schema, mine.schema) and holds_same_values(
            after.schema, mine.schema
        ):
            there, _, _ = transplant(nodes, before.tree, after.tree, mine.tree)
            back, _, _ = transplant(nodes, after.tree, before.tree, mine.tree)
            start[name] = ColumnState(before.schema, back)
            goal[name] = ColumnState(after.schema, there)
    return start, goal


# What the new commit says


def pick_intent(request: PickRequest, head: CommitDigest, taken: Sequence[Commit]) -> Intent:
    """Return what the commit of some changes will say.

    Parameters
    ----------
    head : CommitDigest
        Where the branch is.
    taken : sequence of Commit
        Those that have a part in it, oldest first.

    Notes
    -----
    A cherry-pick of one commit keeps its author, time, message and metadata; of several the
    author, when all have the same, and the time of the newest. Where the changes come from is
    kept as ``cherry-picked-from`` or ``reverts``.
    """
    newest = taken[-1]
    message = request.message or _message(request, taken)
    source = newest.id
    if len(taken) > 1:
        assert request.start is not None
        source = f"{request.start.hex()}..{request.end.id}"
    if request.verb == "revert":
        metadata = {"reverts": source, **request.metadata}
        return Intent("revert", head, newest.digest, message, metadata=metadata)
    metadata = dict(newest.object.metadata) if len(taken) == 1 else {}
    is_one_author = len({commit.author for commit in taken}) == 1
    return Intent(
        "cherry-pick",
        head,
        newest.digest,
        message,
        newest.author if is_one_author else None,
        newest.object.author_time if is_one_author else None,
        {**metadata, "cherry-picked-from": source, **request.metadata},
    )


def _message(request: PickRequest, taken: Sequence[Commit]) -> str:
    only = [] if request.selection.is_everything else [f"Only {request.selection}."]
    if len(taken) == 1:
        commit = taken[0]
        if request.verb == "cherry-pick":
            return "\n\n".join([commit.message.rstrip(), *only])
        note = f"This reverts commit {commit.id}"
        if len(commit.parents) > 1:
            note += f",\nback to its parent {commit.parents[(request.mainline or 1) - 1]}"
        return "\n\n".join([f'Revert "{commit.summary}"', f"{note}.", *only])
    verb = "Revert" if request.verb == "revert" else "Cherry-pick"
    who = f" by {request.author}" if request.author else ""
    lines = [f"- {c.short_id} {c.summary}" for c in reversed(taken[-_LISTED_COMMITS:])]
    if len(taken) > _LISTED_COMMITS:
        lines.append(f"- and {len(taken) - _LISTED_COMMITS} before them")
    title = f"{verb} {len(taken)} commits of {request.spoken}{who}"
    return "\n\n".join([title, "\n".join(lines), *only])
