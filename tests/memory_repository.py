"""A repository without a disk: stores in memory, a fixed author, a clock that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorvcs.checkout.areas import PrivateArea, WorkingArea, Writer, columns_of, read_staging
from tensorvcs.checkout.editor import EditableCheckout
from tensorvcs.checkout.reader import Checkout
from tensorvcs.history.commit import Commit, change_refs, load_commit, new_commit
from tensorvcs.history.difference.diff import Diff, diff_columns
from tensorvcs.history.merging.merge import MergeResult, Strategy, merge_commits
from tensorvcs.history.refs import (
    BRANCHES,
    HEAD,
    branch_commit,
    encode_commit_ref,
    encode_symbolic_ref,
)
from tensorvcs.history.revisions import resolve
from tensorvcs.history.snapshot import read_snapshot, write_snapshot
from tensorvcs.objects.commit import EMPTY_SNAPSHOT, Identity, Timestamp
from tensorvcs.storage.interfaces import RefChange, Stores
from tensorvcs.storage.memory import MemoryObjects, memory_stores
from tensorvcs.tree.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorvcs.objects.digest import CommitDigest

ADA = Identity("Ada", "ada@example.org")
START_MICROSECONDS = 1_700_000_000_000_000


class MemoryRepository:
    """Commits, branches and checkouts over memory stores."""

    def __init__(self, stores: Stores | None = None) -> None:
        self.stores = memory_stores() if stores is None else stores
        self.nodes = Nodes(self.stores.objects)
        self._ticks = 0
        self.stores.refs.swap([RefChange(HEAD, None, encode_symbolic_ref(BRANCHES + "main"))])

    @property
    def objects(self) -> MemoryObjects:
        """The object store, which counts its reads."""
        assert isinstance(self.stores.objects, MemoryObjects)
        return self.stores.objects

    def now(self) -> Timestamp:
        """Return the next second."""
        self._ticks += 1
        return Timestamp(START_MICROSECONDS + self._ticks * 1_000_000, 60)

    @property
    def writer(self) -> Writer:
        return Writer(lambda: ADA, self.now, lambda: None)

    def edit(self, branch: str = "main", stores: Stores | None = None) -> EditableCheckout:
        """Open a private staging area on a branch."""
        used = self.stores if stores is None else stores
        area = PrivateArea(used, self.nodes, branch, self.writer)
        base = None if area.base is None else load_commit(used.objects, area.base)
        columns = columns_of(used, area.base)
        return EditableCheckout(
            used,
            self.nodes,
            branch=branch,
            base=base,
            base_columns=columns,
            columns=columns,
            area=area,
        )

    def work(self, reason: str | None = None) -> EditableCheckout:
        """Open the working staging area on main; there is no lock."""
        area = WorkingArea(self.stores, self.nodes, "main", self.writer, lambda: None, reason)
        before = columns_of(self.stores, area.base)
        staged = read_staging(self.stores.refs)
        return EditableCheckout(
            self.stores,
            self.nodes,
            branch="main",
            base=None if area.base is None else load_commit(self.stores.objects, area.base),
            base_columns=before,
            columns=before if staged is None else read_snapshot(self.objects, staged.snapshot),
            area=area,
        )

    def commit(
        self, change: Callable[[EditableCheckout], Any], branch: str = "main", message: str = "m"
    ) -> Commit:
        """Commit what `change` does to the columns of a branch."""
        with self.edit(branch) as co:
            change(co)
            return co.commit(message)

    def bare_commit(
        self, parents: Sequence[CommitDigest] = (), message: str = "m", author: Identity = ADA
    ) -> CommitDigest:
        """Store a commit without columns; no ref moves."""
        snapshot = EMPTY_SNAPSHOT.digest
        self.stores.objects.put([EMPTY_SNAPSHOT.encode()])
        made = new_commit(
            self.stores.objects, snapshot, parents, author=author, now=self.now(), message=message
        )
        return made.digest

    def put_branch(self, name: str, commit: CommitDigest | None, command: str = "test") -> None:
        """Point a branch at a commit, or delete it, and record the operation."""
        before = self.stores.refs.get(BRANCHES + name)
        after = None if commit is None else encode_commit_ref(commit)
        change_refs(
            self.stores,
            [RefChange(BRANCHES + name, before, after)],
            command=command,
            description=f"{name}",
            user=str(ADA),
            now=self.now(),
        )

    def branch_at(self, name: str, revision: str = "main") -> None:
        """Make a branch."""
        self.put_branch(name, self.resolve(revision))

    def resolve(self, revision: str) -> CommitDigest:
        return resolve(self.stores.objects, self.stores.refs, revision)

    def load(self, revision: str) -> Commit:
        return load_commit(self.stores.objects, self.resolve(revision))

    def checkout(self, revision: str = "main") -> Checkout:
        return Checkout(self.stores, self.load(revision), Nodes(self.stores.objects))

    def content(self, revision: str = "main") -> dict[str, dict[Any, Any]]:
        """Return all columns as dicts; arrays as lists."""
        return contents_of(self.checkout(revision).columns)

    def diff(self, a: str, b: str = "main", columns: Sequence[str] | None = None) -> Diff:
        digests = [self.resolve(a), self.resolve(b)]
        before, after = (columns_of(self.stores, digest) for digest in digests)
        return diff_columns(self.nodes, before, after, self.stores.tensors, names=columns)

    def merge(
        self, revision: str, into: str = "main", strategy: Strategy = "fail", **options: Any
    ) -> MergeResult:
        with self.stores.transaction():
            return merge_commits(
                self.stores,
                self.nodes,
                into,
                self.load(revision),
                strategy=strategy,
                author=ADA,
                now=self.now(),
                message=f"Merge {revision}",
                **options,
            )

    def head(self, branch: str = "main") -> CommitDigest | None:
        return branch_commit(self.stores.objects, self.stores.refs, branch)

    def state(self) -> tuple[Any, ...]:
        """Return what a refused call may not change: the refs and the log."""
        refs = self.stores.refs
        return dict(refs.items()), refs.operations()

    def write_content(self, columns: Mapping[str, Any]) -> bytes:
        return write_snapshot(self.stores.objects, columns)


def contents_of(columns: Mapping[str, Any]) -> dict[str, dict[Any, Any]]:
    """Return columns as plain dicts: arrays as lists, subsamples as dicts."""
    return {name: {key: _plain(value) for key, value in columns[name].items()} for name in columns}


def _plain(value: Any) -> Any:
    if hasattr(value, "items"):
        return {key: _plain(part) for key, part in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value
