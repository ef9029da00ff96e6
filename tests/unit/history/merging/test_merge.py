from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tensorvcs.errors import InvalidInputError, MergeConflictError, UnrelatedHistoriesError
from tensorvcs.history.commit import new_commit
from tensorvcs.history.snapshot import write_snapshot
from tests import model
from tests.memory_repository import ADA, MemoryRepository
from tests.strategies import FEW_KEYS

if TYPE_CHECKING:
    from tensorvcs.objects.digest import CommitDigest

SAMPLES = st.dictionaries(FEW_KEYS, st.integers(0, 2), max_size=6)
CONTENTS = st.dictionaries(
    st.sampled_from(["x", "y"]), st.tuples(st.sampled_from(["int64", "wide", "nested"]), SAMPLES)
)


def add_column(co: Any, name: str, kind: str) -> Any:
    if kind == "wide":  # past the inline size, so that the tree keeps digests
        return co.add_ndarray_column(name, (70,), "uint8")
    return co.add_ndarray_column(name, (), "int64", nested=kind == "nested")


def spelled(kind: str, value: int) -> Any:
    if kind == "wide":
        return np.full(70, value, np.uint8)
    return {"s": value, 1: value} if kind == "nested" else value


def put_content(content: model.Content) -> Any:
    """Make the columns of a branch be a content."""

    def change(co: Any) -> None:
        for name in list(co):
            del co[name]
        for name, (kind, samples) in content.items():
            add_column(co, name, kind).update({k: spelled(kind, v) for k, v in samples.items()})
        co.add_bytes_column("unique")[int(np.random.default_rng().integers(2**62))] = b""

    return change


def content_of(repo: MemoryRepository, revision: str = "main") -> model.Content:
    co = repo.checkout(revision)
    found: model.Content = {}
    for name in co:
        if name == "unique":
            continue
        column = co[name]
        kind = "nested" if column.is_nested else "wide" if column.shape else "int64"
        samples = {}
        for key, value in column.items():
            values = {
                int(part.flat[0]) for part in (value.values() if kind == "nested" else [value])
            }
            samples[key] = values.pop()
            assert not values, "the subsamples of a sample went different ways"
        found[name] = (kind, samples)
    return found


def three(base: model.Content, ours: model.Content, theirs: model.Content) -> MemoryRepository:
    repo = MemoryRepository()
    repo.commit(put_content(base))
    repo.branch_at("side")
    repo.commit(put_content(ours))
    repo.commit(put_content(theirs), "side")
    return repo


@settings(max_examples=80)
@given(CONTENTS, CONTENTS, CONTENTS, st.sampled_from(["fail", "ours", "theirs"]))
def test_a_merge_is_that_of_the_model(
    base: model.Content, ours: model.Content, theirs: model.Content, strategy: Any
) -> None:
    repo = three(base, ours, theirs)
    # The unique column differs on both sides by its samples, never by its key.
    expected = model.merge_contents(base, ours, theirs, strategy)
    state = repo.state()
    if strategy == "fail" and expected.conflicts:
        with pytest.raises(MergeConflictError) as caught:
            repo.merge("side")
        assert sample_conflicts(caught.value.conflicts) == expected.conflicts
        assert repo.state() == state
        assert content_of(repo) == ours
        return
    result = repo.merge("side", strategy=strategy)
    assert sample_conflicts(result.conflicts) == expected.conflicts
    assert content_of(repo) == expected.content
    assert result.commit.parents == (
        repo.resolve("main~1").hex(),
        repo.resolve("side").hex(),
    )


def sample_conflicts(conflicts: Any) -> set[tuple[str, Any]]:
    """A pair of a nested column stands for its sample."""
    return {
        (conflict.column, conflict.key[0] if isinstance(conflict.key, tuple) else conflict.key)
        for conflict in conflicts
    }


@given(CONTENTS, CONTENTS)
def test_merging_the_base_changes_nothing(base: model.Content, ours: model.Content) -> None:
    repo = MemoryRepository()
    repo.commit(put_content(base))
    repo.branch_at("old")
    repo.commit(put_content(ours))
    state = repo.state()
    result = repo.merge("old")
    assert result.is_fast_forward
    assert result.commit == repo.load("main")
    assert repo.state() == state


@given(CONTENTS, CONTENTS)
def test_a_merge_of_equal_sides_is_that_side(base: model.Content, both: model.Content) -> None:
    repo = MemoryRepository()
    repo.commit(put_content(base))
    repo.branch_at("side")
    repo.commit(put_content(both))
    snapshot = repo.load("main").object.snapshot

    def same(co: Any) -> None:
        put_content(both)(co)
        del co["unique"]
        co.add_bytes_column("unique")[next(iter(repo.checkout("main")["unique"]))] = b""

    repo.commit(same, "side")
    assert repo.load("side").object.snapshot == snapshot
    assert len(repo.merge("side").conflicts) == 0
    assert repo.load("main").object.snapshot == snapshot


def labels(**samples: int) -> model.Content:
    return {"x": ("int64", dict(samples))}


def test_a_fast_forward_moves_the_branch() -> None:
    repo = MemoryRepository()
    repo.commit(put_content(labels(a=1)))
    repo.branch_at("side")
    repo.commit(put_content(labels(a=2)), "side")
    result = repo.merge("side")
    assert result.is_fast_forward
    assert repo.resolve("main") == repo.resolve("side")
    assert "fast-forward" in repr(result)


def test_a_merge_commit_can_be_asked_for() -> None:
    repo = MemoryRepository()
    repo.commit(put_content(labels(a=1)))
    repo.branch_at("side")
    repo.commit(put_content(labels(a=2)), "side")
    result = repo.merge("side", allow_fast_forward=False)
    assert not result.is_fast_forward
    assert len(result.commit.parents) == 2
    assert content_of(repo) == labels(a=2)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "kind"),
    [
        (labels(a=1), labels(a=2), labels(a=3), "modify/modify"),
        (labels(a=1), labels(a=2), labels(), "modify/delete"),
        (labels(a=1), labels(), labels(a=2), "delete/modify"),
        (labels(), labels(a=1), labels(a=2), "add/add"),
    ],
)
def test_the_kinds_of_conflict(
    base: model.Content, ours: model.Content, theirs: model.Content, kind: str
) -> None:
    repo = three(base, ours, theirs)
    with pytest.raises(MergeConflictError) as caught:
        repo.merge("side")
    (conflict,) = caught.value.conflicts
    assert (conflict.column, conflict.key, conflict.kind) == ("x", "a", kind)
    for side, content in [("base", base), ("ours", ours), ("theirs", theirs)]:
        value = content["x"][1].get("a")
        stored = None if value is None else value.to_bytes(8, "little")
        assert getattr(conflict.stored, side) == stored
        assert getattr(conflict, side) == value
    assert str(conflict) == f"x['a']: {kind}"
    assert f"x['a']: {kind}" in str(caught.value)
    assert "ours" in (caught.value.hint or "")


def test_a_deleted_column_and_a_changed_one_are_in_conflict() -> None:
    nothing: model.Content = {}
    for ours, theirs, kind in [
        (nothing, labels(a=2), "delete/modify"),
        (labels(a=2), nothing, "modify/delete"),
    ]:
        repo = three(labels(a=1), ours, theirs)
        with pytest.raises(MergeConflictError) as caught:
            repo.merge("side")
        (conflict,) = caught.value.conflicts
        assert (conflict.column, conflict.key, conflict.kind) == ("x", None, kind)
        assert str(conflict) == f"x: {kind}"


def test_a_renamed_column_takes_the_changes_of_the_other_side() -> None:
    repo = MemoryRepository()
    repo.commit(put_content(labels(a=1, b=1)))
    repo.branch_at("side")
    repo.commit(lambda co: co.rename_column("x", "z"))
    repo.commit(lambda co: co["x"].update({"a": 5}), "side")
    repo.merge("side")
    assert content_of(repo) == {"z": ("int64", {"a": 5, "b": 1})}


def test_columns_of_both_sides_are_kept() -> None:
    repo = three(
        labels(a=1),
        {**labels(a=1), "y": ("int64", {})},
        {**labels(a=1), "z": ("wide", {"k": 1})},
    )
    repo.merge("side")
    assert content_of(repo) == {**labels(a=1), "y": ("int64", {}), "z": ("wide", {"k": 1})}


def image_column(co: Any, shape: tuple[int | None, ...], **options: Any) -> Any:
    if "images" in co:
        del co["images"]
    return co.add_ndarray_column("images", shape, "uint8", **options)


@pytest.mark.parametrize("strategy", ["ours", "theirs"])
def test_values_never_come_into_a_column_of_another_shape(strategy: Any) -> None:
    """Both shapes are kept by digest, so only the schema tells them apart."""
    repo = MemoryRepository()
    repo.commit(lambda co: image_column(co, (10, 10)).update({"a": np.zeros((10, 10), "u1")}))
    repo.branch_at("side")
    repo.commit(lambda co: image_column(co, (20, 20)).update({"b": np.zeros((20, 20), "u1")}))
    repo.commit(lambda co: co["images"].update({"c": np.ones((10, 10), "u1")}), "side")
    with pytest.raises(MergeConflictError, match="images: schema"):
        repo.merge("side")
    repo.merge("side", strategy=strategy)
    images = repo.checkout()["images"]
    expected = {"b": (20, 20)} if strategy == "ours" else {"a": (10, 10), "c": (10, 10)}
    assert {key: value.shape for key, value in images.items()} == expected
    assert images.shape == next(iter(expected.values()))


def test_values_never_come_into_a_column_of_a_smaller_limit() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: image_column(co, (9, 9), variable_shape=True))
    repo.branch_at("side")
    repo.commit(lambda co: image_column(co, (3, 3), variable_shape=True))
    repo.commit(lambda co: co["images"].update({"c": np.ones((9, 9), "u1")}), "side")
    with pytest.raises(MergeConflictError, match="images: schema"):
        repo.merge("side")


def test_another_codec_on_one_side_is_taken_with_the_samples_of_the_other() -> None:
    repo = MemoryRepository()
    rows = np.zeros((100,), np.uint8)
    repo.commit(lambda co: image_column(co, (100,)).update({"a": rows}))
    repo.branch_at("side")
    repo.commit(lambda co: image_column(co, (100,), codec="raw").update({"a": rows}))
    repo.commit(lambda co: co["images"].update({"c": rows + 1}), "side")
    repo.merge("side")
    images = repo.checkout()["images"]
    assert images.schema.codec == "raw"
    assert set(images) == {"a", "c"}


def test_unrelated_histories_do_not_merge() -> None:
    repo = MemoryRepository()
    repo.commit(put_content(labels(a=1)))
    repo.put_branch("other", repo.bare_commit())
    state = repo.state()
    with pytest.raises(UnrelatedHistoriesError):
        repo.merge("other")
    assert repo.state() == state


def test_a_strategy_is_known() -> None:
    repo = three(labels(a=1), labels(a=2), labels(a=3))
    state = repo.state()
    with pytest.raises(InvalidInputError, match="'mine'"):
        repo.merge("side", strategy="mine")  # type: ignore[arg-type]
    assert repo.state() == state


def criss_cross(
    base: model.Content,
    left: model.Content,
    right: model.Content,
    ours: model.Content,
    theirs: model.Content,
) -> MemoryRepository:
    """Main and side each merged the other's first commit, and settled on contents of their own."""
    repo = MemoryRepository()
    repo.commit(put_content(base))
    repo.branch_at("side")
    repo.commit(put_content(left))
    repo.commit(put_content(right), "side")
    left_commit, right_commit = repo.resolve("main"), repo.resolve("side")
    repo.put_branch("left", left_commit)
    repo.put_branch("right", right_commit)
    repo.merge("right", strategy="ours")
    repo.merge("left", "side", strategy="ours")
    repo.commit(put_content(ours))
    repo.commit(put_content(theirs), "side")
    return repo


@settings(max_examples=60)
@given(CONTENTS, CONTENTS, CONTENTS, CONTENTS, CONTENTS)
def test_a_criss_cross_merge_never_picks_silently(
    base: model.Content,
    left: model.Content,
    right: model.Content,
    ours: model.Content,
    theirs: model.Content,
) -> None:
    virtual = model.merge_contents(base, left, right, "fail").content
    assume(not any(model.find_renames(virtual, side) for side in (ours, theirs)))
    repo = criss_cross(base, left, right, ours, theirs)
    state = repo.state()
    try:
        result = repo.merge("side")
    except MergeConflictError as error:
        assert len(error.conflicts) > 0
        assert repo.state() == state
        # Whatever is in conflict differs between the sides.
        for name, key in sample_conflicts(error.conflicts):
            o, t = ours.get(name), theirs.get(name)
            assert o != t if key is None or None in (o, t) else o[1].get(key) != t[1].get(key)  # type: ignore[index]
        return
    assert not result.conflicts
    merged = content_of(repo)
    for name in {*ours, *theirs}:
        o, t = ours.get(name), theirs.get(name)
        if o == t:
            assert merged.get(name) == o
            continue
        bases = [left.get(name), right.get(name)]
        if o is None or t is None or o[0] != t[0]:
            # One side wins as a whole, so the other is what a base has.
            loser = t if merged.get(name) == o else o
            assert loser in bases
            continue
        for key in {*o[1], *t[1]}:
            mine, yours = o[1].get(key), t[1].get(key)
            value = merged[name][1].get(key)
            if mine == yours:
                assert value == mine
                continue
            assert value in (mine, yours)
            lost = yours if value == mine else mine
            olds = [b[1].get(key) if b and b[0] == o[0] else None for b in bases]
            assert lost in olds


def test_a_sample_that_the_bases_dispute_is_a_conflict() -> None:
    """Either base alone would have picked a side."""
    repo = criss_cross(labels(a=0), labels(a=1), labels(a=2), labels(a=1), labels(a=2))
    with pytest.raises(MergeConflictError) as caught:
        repo.merge("side")
    assert sample_conflicts(caught.value.conflicts) == {("x", "a")}


def test_a_disputed_sample_that_one_side_deleted_is_a_conflict() -> None:
    repo = criss_cross(labels(a=0), labels(a=1), labels(a=2), labels(), labels(a=2))
    with pytest.raises(MergeConflictError) as caught:
        repo.merge("side")
    (conflict,) = caught.value.conflicts
    assert (conflict.key, conflict.kind, conflict.base) == ("a", "criss-cross", None)
    result = repo.merge("side", strategy="theirs")
    assert len(result.conflicts) == 1
    assert content_of(repo) == labels(a=2)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"y": ("int64", {})}),
        ({"y": ("int64", {0: 0, 1: 1})}, {"y": ("int64", {0: 0})}),
        ({"y": ("wide", {})}, {"y": ("int64", {0: 0})}),
    ],
)
def test_a_column_that_the_bases_dispute_is_a_conflict(
    ours: model.Content, theirs: model.Content
) -> None:
    bases: list[model.Content] = [{"y": (k, s)} for k, s in [("int64", {0: 0}), ("wide", {})]]
    repo = criss_cross({"y": ("int64", {})}, bases[0], bases[1], ours, theirs)
    with pytest.raises(MergeConflictError) as caught:
        repo.merge("side")
    (conflict,) = caught.value.conflicts
    assert (conflict.column, conflict.key, conflict.kind) == ("y", None, "criss-cross")
    repo.merge("side", strategy="theirs")
    assert content_of(repo) == theirs


def test_what_both_made_of_a_disputed_column_is_kept() -> None:
    both: model.Content = {"y": ("nested", {1: 1})}
    left: model.Content = {"y": ("wide", {})}
    repo = criss_cross({"y": ("int64", {})}, {"y": ("int64", {0: 0})}, left, both, both)
    repo.merge("side")
    assert content_of(repo) == both


def test_what_both_made_of_a_disputed_sample_is_kept() -> None:
    repo = criss_cross(labels(a=0, b=0), labels(a=1), labels(a=2), labels(a=5), labels(a=5, c=1))
    repo.merge("side")
    assert content_of(repo) == labels(a=5, c=1)


def labels_commit(
    repo: MemoryRepository, samples: dict[str, int], parents: list[CommitDigest]
) -> CommitDigest:
    """A commit of labels with any parents; no ref moves."""
    with repo.edit("elsewhere") as co:
        co.add_ndarray_column("x", (), "int64").update(samples)
        co.flush()
        snapshot = write_snapshot(repo.objects, co._staged.columns)
        co.reset()
    made = new_commit(repo.objects, snapshot, parents, author=ADA, now=repo.now(), message="m")
    return made.digest


def test_three_bases_that_dispute_samples() -> None:
    repo = MemoryRepository()
    start = labels_commit(repo, {"a": 0, "b": 0, "c": 0}, [])
    bases = [
        labels_commit(repo, samples, [start])
        for samples in (
            {"a": 1, "b": 0, "c": 5},
            {"a": 2, "b": 2, "c": 5},
            {"a": 1, "b": 3, "c": 5},
        )
    ]
    for branch, samples in [("main", {"a": 1, "b": 2, "c": 6}), ("side", {"a": 2, "b": 3, "c": 5})]:
        repo.put_branch(branch, labels_commit(repo, samples, bases))
    with pytest.raises(MergeConflictError) as caught:
        repo.merge("side")
    assert sample_conflicts(caught.value.conflicts) == {("x", "a"), ("x", "b")}
    repo.merge("side", strategy="theirs")
    assert content_of(repo) == labels(a=2, b=3, c=6)


def test_conflicts_are_a_sequence_in_order() -> None:
    ours: model.Content = {
        "x": ("int64", dict.fromkeys([3, 1, "b", "a"], 1)),
        "y": ("nested", {"k": 1}),
    }
    theirs: model.Content = {
        "x": ("int64", dict.fromkeys([3, 1, "b", "a"], 2)),
        "y": ("nested", {"k": 2}),
    }
    repo = three({"x": ("int64", {}), "y": ("nested", {})}, ours, theirs)
    conflicts = repo.merge("side", strategy="ours").conflicts
    assert [conflict.key for conflict in conflicts] == [1, 3, "a", "b", ("k", 1), ("k", "s")]
    assert conflicts[-1].key == ("k", "s")
    assert [c.column for c in conflicts[3:5]] == ["x", "y"]
    assert "6 conflicts" in repr(conflicts)
    with pytest.raises(IndexError):
        conflicts[6]


def test_a_merge_reads_only_what_changed() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_ndarray_column("x", (), "int64").extend(np.arange(100_000)))
    repo.branch_at("side")
    repo.commit(lambda co: co["x"].update({1000: -1}))
    repo.commit(lambda co: co["x"].update({90_000: -1}), "side")
    repo.nodes = type(repo.nodes)(repo.stores.objects)
    repo.objects.get_count = repo.objects.put_count = 0
    repo.merge("side")
    assert repo.objects.get_count < 50
    assert repo.objects.put_count < 8
    x = repo.checkout()["x"]
    assert (x[1000], x[90_000], len(x)) == (-1, -1, 100_000)
