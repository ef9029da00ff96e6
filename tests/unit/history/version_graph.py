"""Histories of small columns: built as commits, and walked naively as the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tensorvcs.history.ancestry import read_commit
from tensorvcs.history.commit import new_commit
from tensorvcs.history.difference.renames import find_renames
from tensorvcs.history.snapshot import ColumnState, read_snapshot, write_snapshot
from tensorvcs.objects.commit import Identity, Timestamp
from tensorvcs.objects.schema import Schema
from tensorvcs.storage.memory import MemoryObjects
from tensorvcs.tree.nodes import Nodes
from tests.strategies import histories
from tests.unit.tree.model import TINY, TreeKey, tree_from

if TYPE_CHECKING:
    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.digest import CommitDigest

PEOPLE = [Identity(name, f"{name.lower()}@example.org") for name in ("Ada", "Bob", "Eve")]
LABELS = Schema("ndarray", "uint8", ())
OTHER_KIND = Schema("ndarray", "int8", ())
OTHER_CODEC = Schema("ndarray", "uint8", (), codec="raw")
SCHEMAS = [LABELS, OTHER_KIND, OTHER_CODEC]
KEYS: list[TreeKey] = [*range(6), b"a", b"b", b"c/1", b"d"]

Column = tuple[Schema, dict[TreeKey, int]]
Content = dict[str, Column]


@dataclass
class VersionGraph:
    """Commits with columns, by number."""

    parents: list[tuple[int, ...]]
    contents: list[Content]

    def __post_init__(self) -> None:
        self.objects = MemoryObjects()
        self.commits: list[CommitDigest] = []
        nodes = Nodes(self.objects, boundary=TINY)
        for number, (parents, content) in enumerate(zip(self.parents, self.contents, strict=True)):
            columns = {
                name: ColumnState(schema, tree_from(nodes, _as_bytes(items), 1))
                for name, (schema, items) in content.items()
            }
            made = new_commit(
                self.objects,
                write_snapshot(self.objects, columns),
                [self.commits[at] for at in parents],
                author=PEOPLE[number % len(PEOPLE)],
                now=Timestamp(number * 1_000_000),
                message=str(number),
            )
            self.commits.append(made.digest)

    def nodes(self) -> Nodes:
        """Return nodes with nothing in memory."""
        return Nodes(self.objects, boundary=TINY)

    def number(self, commit: CommitDigest) -> int:
        return self.commits.index(commit)

    def columns(self, commit: int) -> Columns:
        return read_snapshot(self.objects, read_commit(self.objects, self.commits[commit]).snapshot)

    def value(self, commit: int, name: str, key: TreeKey) -> Any:
        """Return what identifies the value of a sample; None where it is not there."""
        if name not in self.contents[commit]:
            return None
        schema, items = self.contents[commit][name]
        return None if key not in items else (schema.dtype, items[key])

    def name_in(self, parent: int, child: int, name: str) -> str:
        """Return what a column of `child` is called in a parent."""
        if name in self.contents[parent] or name not in self.contents[child]:
            return name
        renames = find_renames(self.nodes(), self.columns(parent), self.columns(child))
        return next((old for old, new in renames.items() if new == name), name)

    def blame(self, commit: int, name: str, key: TreeKey) -> int:
        """Return the commit that last changed a sample: step by step, first equal parent first."""
        while True:
            for parent in self.parents[commit]:
                old = self.name_in(parent, commit, name)
                if self.value(parent, old, key) == self.value(commit, name, key):
                    commit, name = parent, old
                    break
            else:
                return commit

    def changes(self, commit: int, name: str, key: TreeKey) -> dict[int, tuple[Any, Any]]:
        """Return the commits that changed a sample, with its value in the first parent and here."""
        found = {}
        queue, seen = [(commit, name)], {(commit, name)}
        while queue:
            commit, name = queue.pop()
            value = self.value(commit, name, key)
            steps = [(p, self.name_in(p, commit, name)) for p in self.parents[commit]]
            befores = [self.value(*step, key) for step in steps]
            if value in (befores or [None]):
                steps = steps[befores.index(value) :][:1] if befores else []
            else:
                found[commit] = (befores[0] if befores else None, value)
            queue += [step for step in steps if step not in seen]
            seen.update(steps)
        return found


def _as_bytes(items: dict[TreeKey, int]) -> dict[TreeKey, bytes]:
    return {key: bytes([value]) for key, value in items.items()}


@st.composite
def version_graphs(draw: st.DrawFn) -> VersionGraph:
    """A history in which each commit changes a little of what one of its parents has."""
    parents = draw(histories(10))
    contents: list[Content] = []
    for of in parents:
        content: Content = {}
        if of:
            for name, (schema, items) in contents[draw(st.sampled_from(of))].items():
                content[name] = (schema, dict(items))
        if not content:
            content["x"] = (LABELS, {})
        names = sorted(content)
        for parent in of[1:]:
            # As a merge does: some samples come from another parent.
            for name in names:
                if name in contents[parent] and draw(st.booleans()):
                    content[name][1].update(contents[parent][name][1])
        event = draw(st.sampled_from(["edit"] * 6 + ["rename", "delete", "schema", "add"]))
        name = draw(st.sampled_from(names))
        if event == "rename":
            content[draw(st.sampled_from("xyz"))] = content.pop(name)
        elif event == "delete":
            del content[name]
        elif event == "schema":
            content[name] = (draw(st.sampled_from(SCHEMAS)), content[name][1])
        elif event == "add":
            content.setdefault(draw(st.sampled_from("xyz")), (LABELS, {0: 0}))
        for name in content:
            edits = draw(
                st.dictionaries(
                    st.sampled_from(KEYS), st.one_of(st.none(), st.integers(0, 2)), max_size=4
                )
            )
            for key, value in edits.items():
                if value is None:
                    content[name][1].pop(key, None)
                else:
                    content[name][1][key] = value
        contents.append(content)
    return VersionGraph(parents, contents)
