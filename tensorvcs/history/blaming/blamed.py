"""Blame as a user sees it: which commit last changed each sample, and who changed how many."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.display.counting import count_text
from tensorvcs.display.html import table_html, value_html
from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    InvalidKeyError,
    SampleNotFoundError,
    with_hint,
)
from tensorvcs.history.ancestry import read_commits
from tensorvcs.history.blaming.blame import attribute
from tensorvcs.history.commit import Commit
from tensorvcs.history.difference.changed_keys import ChangedKeys
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.objects.keys import (
    EMPTY_INTS,
    Keys,
    check_key,
    collect_keys,
    composite_key,
    composite_prefix,
    text_array,
)
from tensorvcs.tree import cursor
from tensorvcs.tree.entries import find_keys, join_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from tensorvcs.history.blaming.blame import Attribution
    from tensorvcs.history.snapshot import ColumnState
    from tensorvcs.objects.commit import Identity
    from tensorvcs.storage.interfaces import ObjectStore
    from tensorvcs.tree.nodes import Nodes
    from tensorvcs.tree.tree import Tree

_SHOWN_SHARES = 8


@dataclass(frozen=True, slots=True)
class CommitShare:
    """How many of the samples a commit was the last to change; `share` is above 0 up to 1."""

    commit: Commit
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class AuthorShare:
    """How many of the samples an author was the last to change; `share` is above 0 up to 1."""

    author: Identity
    count: int
    share: float


class Blame(Mapping[Any, Commit]):
    """A mapping from sample key to the commit that last changed it, in key order.

    The keys of a nested column are pairs (sample, subsample). A commit is read when it is first
    asked for.

    Attributes
    ----------
    column : str
    commit : Commit
        The version whose samples these are.
    """

    def __init__(
        self,
        objects: ObjectStore,
        column: str,
        commit: Commit,
        keys: Keys,
        found: Attribution,
        *,
        nested: bool,
    ) -> None:
        self.column = column
        self.commit = commit
        self._objects = objects
        self._keys = keys
        self._found = found
        self._nested = nested
        self._commits: dict[int, Commit] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keys.to_pairs() if self._nested else self._keys.to_list())

    def __getitem__(self, key: Any) -> Commit:
        place = self._place_of(key)
        if place is None:
            raise SampleNotFoundError(f"the blame of column {self.column!r} has no sample {key!r}")
        return self._load([int(self._found.owners[place])])[0]

    def __contains__(self, key: object) -> bool:
        try:
            return self._place_of(key) is not None
        except InvalidKeyError:
            return False

    def items(self) -> ItemsView[Any, Commit]:
        """Return the keys with their commits; as quick as a list."""
        return _Items(self)

    def values(self) -> ValuesView[Commit]:
        """Return the commit of each sample, in key order; as quick as a list."""
        return _Commits(self)

    def by_commit(self) -> list[CommitShare]:
        """Return the commits with the number of samples of each, largest first, then newest."""
        counts = np.bincount(self._found.owners, minlength=len(self._found.commits)).tolist()
        commits = self._load(range(len(counts)))
        shares = [
            CommitShare(commit, count, count / len(self))
            for commit, count in zip(commits, counts, strict=True)
        ]
        return sorted(shares, key=lambda share: (-share.count, -share.commit.time.timestamp()))

    def by_author(self) -> list[AuthorShare]:
        """Return the authors with the number of samples of each, largest first, then by name."""
        counts: dict[Identity, int] = {}
        for share in self.by_commit():
            who = share.commit.author
            counts[who] = counts.get(who, 0) + share.count
        shares = [AuthorShare(who, count, count / len(self)) for who, count in counts.items()]
        return sorted(shares, key=lambda share: (-share.count, str(share.author)))

    def changed_by(self, author: str | Identity) -> ChangedKeys:
        """Return the keys that an author was the last to change, in key order.

        Parameters
        ----------
        author : str or Identity
            A text takes all authors whose name or mail has it, in any case.
        """
        text = author.casefold() if isinstance(author, str) else None
        is_theirs = np.array(
            [
                commit.author == author if text is None else text in str(commit.author).casefold()
                for commit in self._load(range(len(self._found.commits)))
            ],
            np.bool_,
        )
        chosen = is_theirs[self._found.owners]
        split = len(self._keys.ints)
        theirs = Keys(self._keys.ints[chosen[:split]], self._keys.texts[chosen[split:]])
        return ChangedKeys(theirs, nested=self._nested)

    def _place_of(self, key: Any) -> int | None:
        tree_key = _tree_key(key, nested=self._nested)
        is_text = isinstance(tree_key, bytes)
        keys = self._keys.texts if is_text else self._keys.ints
        at, found = find_keys(keys, np.array([tree_key]))
        return int(at[0]) + is_text * len(self._keys.ints) if found[0] else None

    def _load(self, places: Iterable[int]) -> list[Commit]:
        """Return commits by their place in what was found; those not at hand in one batch."""
        wanted = list(places)
        absent = [at for at in dict.fromkeys(wanted) if at not in self._commits]
        digests = [self._found.commits[at] for at in absent]
        for at, digest, made in zip(
            absent, digests, read_commits(self._objects, digests), strict=True
        ):
            self._commits[at] = Commit(digest, made)
        return [self._commits[at] for at in wanted]

    def _each(self) -> Iterator[Commit]:
        commits = self._load(range(len(self._found.commits)))
        return (commits[owner] for owner in self._found.owners.tolist())

    def __repr__(self) -> str:
        return (
            f"<Blame of column {self.column!r} at {self.commit.short_id}: {len(self):,} samples, "
            f"{count_text(len(self._found.commits), 'commit')}>"
        )

    def _repr_html_(self) -> str:
        authors, commits = self.by_author(), self.by_commit()
        author_rows = [
            [value_html(str(one.author)), f"{one.count:,}", f"{one.share:.1%}"]
            for one in authors[:_SHOWN_SHARES]
        ]
        commit_rows = [
            [one.commit._repr_html_(), f"{one.count:,}", f"{one.share:.1%}"]
            for one in commits[:_SHOWN_SHARES]
        ]
        if len(authors) > _SHOWN_SHARES:
            author_rows.append(["…", "", ""])
        if len(commits) > _SHOWN_SHARES:
            commit_rows.append(["…", "", ""])
        return table_html(["author", "samples", "share"], author_rows, repr(self)[1:-1]) + (
            table_html(["commit", "samples", "share"], commit_rows)
        )


class _Items(ItemsView[Any, Commit]):
    _mapping: Blame

    def __iter__(self) -> Iterator[tuple[Any, Commit]]:
        return zip(self._mapping, self._mapping._each(), strict=True)


class _Commits(ValuesView[Commit]):
    _mapping: Blame

    def __iter__(self) -> Iterator[Commit]:
        return self._mapping._each()


def blame_column(
    objects: ObjectStore,
    nodes: Nodes,
    commit: Commit,
    column: str,
    keys: Iterable[Any] | None = None,
) -> Blame:
    """Return which commit last changed each sample of a column.

    Parameters
    ----------
    commit : Commit
        The version whose samples are looked at.
    keys : iterable, optional
        Only these samples; of a nested column pairs, or the key of a sample for all it has.

    Raises
    ------
    ColumnNotFoundError, SampleNotFoundError
        The version has no such column, or the column not all of `keys`.
    InvalidKeyError
        One of `keys` can be no key of the column.
    """
    columns = read_snapshot(objects, commit.object.snapshot)
    state = columns.get(column)
    if state is None:
        raise ColumnNotFoundError(
            f"no column {column!r} in commit {commit.short_id}; there are: "
            f"{', '.join(columns) or 'none'}"
        )
    if isinstance(keys, (str, int)):
        raise InvalidInputError(f"keys is a list of keys, not one key; write keys=[{keys!r}]")
    wanted = _all_keys(nodes, state.tree) if keys is None else _chosen(nodes, column, state, keys)
    found = attribute(objects, nodes, commit.digest, column, wanted, are_all=keys is None)
    return Blame(objects, column, commit, wanted, found, nested=state.schema.nested)


def _all_keys(nodes: Nodes, tree: Tree) -> Keys:
    """Return all keys of a column; the leaves that are read do not stay in memory."""
    ints: list[NDArray[Any]] = []
    texts: list[NDArray[Any]] = []
    for keys, _ in cursor.iter_blocks(nodes, tree):
        ints += [keys.ints] if len(keys.ints) else []
        texts += [keys.texts] if len(keys.texts) else []
    return Keys(join_keys(ints, is_text=False), join_keys(texts, is_text=True))


def _chosen(nodes: Nodes, column: str, state: ColumnState, keys: Iterable[Any]) -> Keys:
    """Return the tree keys that a user names, each sort in order; all of them are there."""
    if state.schema.nested:
        wanted = _nested_keys(nodes, column, state.tree, list(keys))
    else:
        wanted = collect_keys(keys)[0]
    wanted = Keys(np.unique(wanted.ints), np.unique(wanted.texts))
    found = cursor.positions(nodes, state.tree, wanted)[1]
    if not found.all():
        split = len(wanted.ints)
        absent = Keys(wanted.ints[~found[:split]], wanted.texts[~found[split:]])
        first = ChangedKeys(absent, nested=state.schema.nested)[0]
        raise _not_found(column, first, len(absent))
    return wanted


def _nested_keys(nodes: Nodes, column: str, tree: Tree, keys: list[Any]) -> Keys:
    texts: list[bytes] = []
    for key in keys:
        if isinstance(key, tuple):
            texts.append(_tree_key(key, nested=True))  # type: ignore[arg-type]
            continue
        start, stop = cursor.prefix_range(nodes, tree, composite_prefix(key))
        if start == stop:
            raise _not_found(column, key, 1)
        texts += cursor.keys_at(nodes, tree, start, stop).texts.tolist()
    return Keys(EMPTY_INTS, text_array(texts))


def _not_found(column: str, first: object, count: int) -> SampleNotFoundError:
    more = f" and {count - 1:,} more" if count > 1 else ""
    return with_hint(
        SampleNotFoundError(f"column {column!r} has no sample {first!r}{more}"),
        f"'tvcs history {column} KEY' shows the life of one that was deleted",
    )


def _tree_key(key: Any, *, nested: bool) -> int | bytes:
    """Return a key as trees have it."""
    if nested:
        if not isinstance(key, tuple) or len(key) != 2:
            raise InvalidKeyError(
                f"a key of a nested column is a pair (sample, subsample), not {key!r}"
            )
        return composite_key(*key)
    checked = check_key(key)
    return checked if isinstance(checked, int) else checked.encode()
