"""Merges of random edits, beside merges of plain dicts: every strategy, every kind of column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorvcs as tv
from tensorvcs.checkout.areas import columns_of
from tensorvcs.errors import MergeConflictError
from tensorvcs.history.commit import new_commit
from tensorvcs.history.merging.column_merge import MergedColumns, merge_columns
from tensorvcs.history.merging.combining import union_lines
from tensorvcs.history.merging.policies import Policies
from tensorvcs.history.snapshot import write_snapshot
from tests import model
from tests.memory_repository import ADA, MemoryRepository, contents_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.digest import CommitDigest

KINDS = ["inline", "digest", "nested", "text"]
KEYS = st.one_of(st.integers(-1, 3), st.sampled_from(["a", "b", "c"]))
PAIRS = st.tuples(st.sampled_from([0, "a"]), st.one_of(st.integers(0, 1), st.just("s")))
WIDE = 70
"""Values of so many bytes are kept by digest."""

Vector = tuple[int, int]
"""A sample of the model: two numbers, so that elements can be voted on."""
VECTORS = st.tuples(st.integers(0, 2), st.integers(1, 4))

Samples = dict[Any, Vector]


def keys_of(kind: str) -> st.SearchStrategy[Any]:
    return PAIRS if kind == "nested" else KEYS


SIDES = st.one_of(VECTORS, VECTORS, VECTORS, st.none(), st.just("keep"))
"""What a side does to a sample: it sets it, deletes it, or leaves it."""


@st.composite
def scripts(
    draw: st.DrawFn, kinds: list[str] = KINDS
) -> tuple[str, Samples, dict[Any, Any], dict[Any, Any]]:
    """A kind of column, its samples, and what each side sets (or deletes, with None)."""
    kind = draw(st.sampled_from(kinds))
    olds = st.one_of(VECTORS, VECTORS, st.none())
    keys = draw(st.lists(keys_of(kind), min_size=4, max_size=6, unique=True))
    rows: dict[Any, Any] = {key: draw(st.tuples(olds, SIDES, SIDES)) for key in keys}
    sides = [{k: row[at] for k, row in rows.items() if row[at] != "keep"} for at in range(3)]
    return kind, edited({}, sides[0]), sides[1], sides[2]


def edited(samples: Samples, edits: Mapping[Any, Any]) -> Samples:
    after = {**samples, **edits}
    return {key: value for key, value in after.items() if value is not None}


# Between the model and columns


def spelled(kind: str, vector: Vector) -> Any:
    if kind == "text":
        return "".join(f"{number}\n" for number in vector)
    size = WIDE if kind == "digest" else 2
    return np.resize(np.array(vector, np.uint8), size)


def vector_of(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(map(int, value.split()))
    return tuple(int(number) for number in value[:2])


def put(co: Any, kind: str, edits: Mapping[Any, Any]) -> None:
    if "x" not in co:
        if kind == "text":
            co.add_str_column("x")
        else:
            size = WIDE if kind == "digest" else 2
            co.add_ndarray_column("x", (size,), "uint8", nested=kind == "nested")
    for key, vector in edits.items():
        if kind == "nested":
            sample, sub = key
            if vector is not None:
                co["x"].update({sample: {sub: spelled(kind, vector)}})
            elif sample in co["x"] and sub in co["x"][sample]:
                del co["x"][sample][sub]
        elif vector is not None:
            co["x"][key] = spelled(kind, vector)
        elif key in co["x"]:
            del co["x"][key]


def samples_of(checkout: Any) -> dict[Any, Any]:
    column = checkout["x"]
    if not column.is_nested:
        return {key: vector_of(value) for key, value in column.items()}
    return {
        (sample, sub): vector_of(value)
        for sample, subs in column.items()
        for sub, value in subs.items()
    }


def begin(kind: str, samples: Samples) -> Any:
    def change(co: Any) -> None:
        put(co, kind, samples)
        co.add_bytes_column("note")

    return change


def go_on(kind: str, edits: Any, note: str) -> Any:
    """Edits of one side; a side without any differs from the other by its note."""

    def change(co: Any) -> None:
        put(co, kind, edits)
        co["note"].update({note: b""})

    return change


def fork(kind: str, base: Samples, ours: Any, theirs: Any) -> MemoryRepository:
    repo = MemoryRepository()
    repo.commit(begin(kind, base))
    repo.branch_at("side")
    repo.commit(go_on(kind, ours, "ours"))
    repo.commit(go_on(kind, theirs, "theirs"), "side")
    return repo


# The model


def decide(policy: str, kind: str, base: Any, ours: Any, theirs: Any) -> Any:
    """What a policy makes of one sample in conflict; UNDECIDED when it leaves it open."""
    if policy in ("ours", "theirs", "newest"):
        return ours if policy == "ours" else theirs  # theirs is committed last
    if policy == "union":
        if None in (ours, theirs):
            return ours or theirs
        return union(base, ours, theirs)
    if policy == "fail" or None in (ours, theirs) or (policy == "majority" and base is None):
        return tv.UNDECIDED
    if policy == "mean":
        return tuple(round((a + b) / 2) for a, b in zip(ours, theirs, strict=True))
    if policy == "max":
        return tuple(map(max, ours, theirs))
    votes = list(zip(base, ours, theirs, strict=True))
    if any(len(set(vote)) == 3 for vote in votes):
        return tv.UNDECIDED
    return tuple(max(vote, key=vote.count) for vote in votes)


def union(base: Any, ours: Vector, theirs: Vector) -> Any:
    texts = ["" if side is None else spelled("text", side) for side in (base, ours, theirs)]
    return vector_of(union_lines(*texts))


@dataclass
class Expected:
    """The samples of a merge, and the keys that are open and decided."""

    samples: dict[Any, Any]
    conflicts: set[Any]
    decided: set[Any]


def merge_samples(
    policy: str, kind: str, base: Samples, ours: Samples, theirs: Samples
) -> Expected:
    found = Expected({}, set(), set())
    for key in {*base, *ours, *theirs}:
        b, o, t = (side.get(key) for side in (base, ours, theirs))
        value: Any = o if t in (o, b) else t
        if o != t and b not in (o, t):
            value = decide(policy, kind, b, o, t)
            (found.conflicts if value is tv.UNDECIDED else found.decided).add(key)
            value = o if value is tv.UNDECIDED else value
        if value is not None:
            found.samples[key] = value
    return found


POLICIES = ["fail", "ours", "theirs", "newest", "union", "mean", "max", "majority"]


def can_merge(policy: str, kind: str) -> bool:
    if policy in ("mean", "max", "majority"):
        return kind != "text"
    return policy != "union" or kind == "text"


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=50)
@given(st.data(), st.booleans())
def test_a_merge_is_that_of_dicts(policy: Any, data: st.DataObject, is_kept: bool) -> None:
    kinds = [kind for kind in KINDS if can_merge(policy, kind)]
    kind, base, our_edits, their_edits = data.draw(scripts(kinds))
    repo = fork(kind, base, our_edits, their_edits)
    ours, theirs = edited(base, our_edits), edited(base, their_edits)
    expected = merge_samples(policy, kind, base, ours, theirs)
    strategy: Any = {"x": policy}
    if is_kept:
        repo = MemoryRepository()
        repo.commit(begin(kind, base))
        if policy != "fail":
            repo.commit(lambda co: co.set_merge_policy("x", policy))
        repo.branch_at("side")
        repo.commit(go_on(kind, our_edits, "ours"))
        repo.commit(go_on(kind, their_edits, "theirs"), "side")
        strategy = "fail"
    if policy != "newest":  # which needs the commits
        found = merge_of(repo, strategy if is_kept else policy)
        assert samples_in(repo, found.columns) == expected.samples
        assert {conflict.key for conflict in found.conflicts} == expected.conflicts
        assert {conflict.key for conflict in found.decided} == expected.decided
    try:
        result = repo.merge("side", strategy=strategy)
    except MergeConflictError as error:
        assert {conflict.key for conflict in error.conflicts} == expected.conflicts
        assert expected.conflicts
        assert samples_of(repo.checkout()) == ours
        return
    assert not expected.conflicts
    assert {conflict.key for conflict in result.conflicts} == expected.decided
    assert {c.decided_by for c in result.conflicts} <= {policy}
    assert samples_of(repo.checkout()) == expected.samples
    for conflict in result.conflicts:
        sides = (conflict.base, conflict.ours, conflict.theirs)
        assert [None if side is None else vector_of(side) for side in sides] == [
            side.get(conflict.key) for side in (base, ours, theirs)
        ]


@given(scripts(), st.sampled_from(POLICIES))
def test_no_strategy_drops_a_sample_that_both_sides_kept(
    script: tuple[str, Samples, Any, Any], policy: Any
) -> None:
    kind, base, our_edits, their_edits = script
    policy = policy if can_merge(policy, kind) else "ours"
    repo = fork(kind, base, our_edits, their_edits)
    found = merge_of(repo, policy)
    with_both = edited(base, our_edits).keys() & edited(base, their_edits).keys()
    assert with_both <= samples_in(repo, found.columns).keys()


def merge_of(
    repo: MemoryRepository, policy: Any = "fail", *, swapped: bool = False
) -> MergedColumns:
    """The merge of the columns of main and side, without a commit."""
    base, ours, theirs = (
        columns_of(repo.stores, repo.resolve(name)) for name in ("main~1", "main", "side")
    )
    if swapped:
        ours, theirs = theirs, ours
    policies = Policies.of({"*": policy})
    found = merge_columns(repo.nodes, repo.stores.tensors, base, ours, theirs, policies)
    repo.stores.tensors.seal()
    return found


def samples_in(repo: MemoryRepository, columns: Columns) -> dict[Any, Any]:
    snapshot = write_snapshot(repo.stores.objects, columns)
    made = new_commit(repo.stores.objects, snapshot, (), author=ADA, now=repo.now(), message="m")
    repo.put_branch("probe", made.digest)
    return samples_of(repo.checkout("probe"))


@given(scripts(), st.sampled_from(["fail", "mean", "max", "majority"]))
def test_what_sees_no_sides_does_not_depend_on_which_is_which(
    script: tuple[str, Samples, Any, Any], policy: Any
) -> None:
    """Columns without conflict are equal node by node, whoever merges whom."""
    kind, base, our_edits, their_edits = script
    policy = policy if can_merge(policy, kind) else "fail"
    repo = fork(kind, base, our_edits, their_edits)
    one, other = merge_of(repo, policy), merge_of(repo, policy, swapped=True)
    assert one.conflicts.sample_keys().keys() == other.conflicts.sample_keys().keys()
    for name, keys in one.conflicts.sample_keys().items():
        again = other.conflicts.sample_keys()[name]
        assert np.array_equal(keys.ints, again.ints)
        assert np.array_equal(keys.texts, again.texts)
    for name in one.columns.keys() - one.conflicts.sample_keys().keys():
        assert one.columns[name] == other.columns[name]
    swapped = merge_of(repo, "theirs", swapped=True)
    assert merge_of(repo, "ours").columns == swapped.columns


@given(scripts(), st.sampled_from(POLICIES))
def test_a_merge_with_the_base_or_with_oneself_is_no_change(
    script: tuple[str, Samples, Any, Any], policy: Any
) -> None:
    kind, base, our_edits, _ = script
    repo = fork(kind, base, our_edits, {})
    old, ours = (columns_of(repo.stores, repo.resolve(name)) for name in ("main~1", "main"))
    policies = Policies(default=policy)
    for sides in [(old, ours, old), (old, old, ours), (old, ours, ours)]:
        found = merge_columns(repo.nodes, repo.stores.tensors, *sides, policies=policies)
        assert found.columns == ours
        assert not found.conflicts
        assert not found.decided


@given(scripts(), st.dictionaries(KEYS, VECTORS, max_size=4))
def test_clean_merges_come_to_the_same_in_any_order(
    script: tuple[str, Samples, Any, Any], more: Samples
) -> None:
    _, base, one, two = script
    base = {key: value for key, value in base.items() if not isinstance(key, tuple)}
    # Three sides that touch keys of their own.
    parts = [
        {f"{name}{at}": value for at, value in enumerate(edits.values())}
        for name, edits in (("one", one), ("two", two), ("three", more))
    ]
    repo = MemoryRepository()
    repo.commit(begin("inline", base))
    old = columns_of(repo.stores, repo.resolve("main"))
    sides = []
    for at, part in enumerate(parts):
        with repo.edit() as co:
            put(co, "inline", part)
            co["note"].update({at: b""})
            co.flush()
            sides.append(dict(co._staged.columns))
            co.reset()
    outcomes = []
    for order in [(0, 1, 2), (2, 0, 1), (1, 2, 0)]:
        made = old
        for at in order:
            found = merge_columns(repo.nodes, repo.stores.tensors, old, made, sides[at])
            assert not found.conflicts
            made = found.columns
        outcomes.append(made)
    assert outcomes[0] == outcomes[1] == outcomes[2]


# Histories of any shape


def merge_commit(repo: MemoryRepository, content: Any, parents: list[CommitDigest]) -> CommitDigest:
    """A commit of some labels with any number of parents."""
    with repo.edit() as co:
        if "x" in co:
            del co["x"]
        co.add_ndarray_column("x", (), "int64").update(content)
        co.flush()
        snapshot = write_snapshot(repo.stores.objects, co._staged.columns)
        co.reset()
    return new_commit(
        repo.stores.objects, snapshot, parents, author=ADA, now=repo.now(), message="m"
    ).digest


CONTENTS = st.dictionaries(st.sampled_from([0, 1, "a"]), st.integers(0, 2), max_size=3)


@settings(max_examples=120)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=3, unique=True), CONTENTS), min_size=2),
    st.sampled_from(["fail", "ours", "theirs"]),
)
def test_a_merge_over_any_history_takes_no_side_silently(
    drawn: list[tuple[list[int], dict[Any, int]]], strategy: Any
) -> None:
    """Octopus and criss-cross ancestries: whatever came out is what a side or both have."""
    repo = MemoryRepository()
    commits: list[CommitDigest] = []
    contents: list[dict[Any, int]] = []
    parents: model.Parents = []
    for wanted, content in [([], {0: 0}), *drawn]:
        chosen = sorted({at % len(commits) for at in wanted}) if commits else []
        chosen = chosen or [0] * bool(commits)
        parents.append(tuple(chosen))
        commits.append(merge_commit(repo, content, [commits[at] for at in chosen]))
        contents.append(content)
    ours, theirs = len(commits) - 1, len(commits) - 2
    repo.put_branch("main", commits[ours])
    repo.put_branch("side", commits[theirs])
    bases = model.merge_bases(parents, ours, theirs)
    try:
        result = repo.merge("side", strategy=strategy, allow_fast_forward=False)
    except MergeConflictError as error:
        assert strategy == "fail"
        for conflict in error.conflicts:
            assert contents[ours].get(conflict.key) != contents[theirs].get(conflict.key)
        return
    if bases == {theirs}:
        assert result.commit.digest == commits[ours]
        return
    merged = contents_of(repo.checkout().columns)["x"]
    decided = {conflict.key for conflict in result.conflicts}
    for key in {*contents[ours], *contents[theirs]}:
        o, t, value = contents[ours].get(key), contents[theirs].get(key), merged.get(key)
        assert value in (o, t)
        if o == t:
            continue
        if key in decided:
            assert value == (o if strategy == "ours" else t)
            continue
        lost = t if value == o else o
        assert lost in {contents[base].get(key) for base in bases}
