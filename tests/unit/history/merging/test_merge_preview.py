"""A merge that is only looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import (
    BranchNotFoundError,
    ColumnNotFoundError,
    InvalidInputError,
    MergeConflictError,
    UnrelatedHistoriesError,
)
from tensorvcs.history.merging.merge import MergePreview, preview_merge
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from pathlib import Path


def labels(co: Any, **samples: int) -> None:
    if "labels" not in co:
        co.add_ndarray_column("labels", (), "int64")
        co.add_ndarray_column("wide", (100,), "uint8")
    co["labels"].update(samples)
    co["wide"].update({key: np.full(100, value, "u1") for key, value in samples.items()})


def forked() -> MemoryRepository:
    repo = MemoryRepository()
    repo.commit(lambda co: labels(co, a=1, b=1, c=1))
    repo.branch_at("side")
    repo.commit(lambda co: labels(co, a=2, d=2))
    repo.commit(lambda co: labels(co, a=4, b=4), "side")
    return repo


def preview(repo: MemoryRepository, strategy: Any = "fail", **options: Any) -> MergePreview:
    state = repo.state(), dict(repo.objects.objects), dict(repo.stores.tensors.values)  # type: ignore[attr-defined]
    found = preview_merge(
        repo.stores, repo.nodes, "main", repo.load("side"), strategy=strategy, **options
    )
    assert state == (
        repo.state(), repo.objects.objects, repo.stores.tensors.values  # type: ignore[attr-defined]
    )  # fmt: skip
    assert repo.stores.tensors.unsealed_nbytes == 0
    return found


def test_a_preview_tells_the_changes_and_the_conflicts_and_writes_nothing() -> None:
    repo = forked()
    found = preview(repo)
    assert (found.ours, found.theirs) == (repo.load("main"), repo.load("side"))
    assert not found.is_fast_forward
    assert [str(conflict) for conflict in found.conflicts] == [
        "labels['a']: modify/modify", "wide['a']: modify/modify"
    ]  # fmt: skip
    assert not found.decided
    stat = found.diff.stat()
    assert (stat.added, stat.deleted, stat.modified) == (0, 0, 2)
    assert found.diff.columns["labels"].modified == ["b"]
    with pytest.raises(MergeConflictError):
        repo.merge("side")


def test_a_preview_has_the_values_that_a_policy_would_make() -> None:
    repo = forked()
    found = preview(repo, "mean")
    assert not found.conflicts
    assert {conflict.decided_by for conflict in found.decided} == {"mean"}
    changes = {change.key: change for change in found.diff.columns["wide"].changes()}
    assert (changes["a"].before[0], changes["a"].after[0]) == (2, 3)
    assert (changes["b"].before[0], changes["b"].after[0]) == (1, 4)
    repo.merge("side", strategy="mean")
    assert repo.diff("main~1").stat().columns == found.diff.stat().columns


def test_a_preview_of_a_fast_forward() -> None:
    repo = forked()
    repo.put_branch("main", repo.resolve("main~1"))
    found = preview(repo)
    assert found.is_fast_forward
    assert found.diff.stat().modified == 4
    assert found.diff.columns["labels"].modified == ["a", "b"]
    assert not preview(repo, allow_fast_forward=False).is_fast_forward
    repo.put_branch("side", repo.resolve("main"))
    nothing = preview(repo)
    assert nothing.is_fast_forward
    assert nothing.diff.is_empty


def test_a_preview_refuses_what_a_merge_refuses() -> None:
    repo = forked()
    with pytest.raises(InvalidInputError):
        preview(repo, "mine")
    with pytest.raises(ColumnNotFoundError):
        preview(repo, {"lables": "ours"})
    with pytest.raises(BranchNotFoundError, match="'nope' to merge into"):
        preview_merge(repo.stores, repo.nodes, "nope", repo.load("side"))
    repo.put_branch("side", repo.bare_commit())
    with pytest.raises(UnrelatedHistoriesError):
        preview(repo)


def test_a_preview_shows_itself() -> None:
    repo = forked()
    found = preview(repo)
    ours, theirs = repo.load("main").short_id, repo.load("side").short_id
    assert repr(found).startswith(f"<MergePreview of {theirs} into {ours}: 2 conflicts, 0 decided")
    html = found._repr_html_()
    assert "2 conflicts" in html
    assert html.count("modify/modify") == 2
    decided = preview(repo, "ours")._repr_html_()
    assert "modify/modify, ours" in decided
    repo.put_branch("main", repo.resolve("main~1"))
    assert "fast-forward, 0 conflicts" in repr(preview(repo))
    assert "none" in preview(repo)._repr_html_()


def test_a_result_shows_itself() -> None:
    repo = forked()
    html = repo.merge("side", strategy="theirs")._repr_html_()
    assert "2 conflicts decided" in html
    assert "modify/modify, theirs" in html
    assert repo.load("main").short_id in html
    repo.put_branch("side", repo.resolve("main"))
    assert "fast-forward" in repo.merge("side")._repr_html_()


def test_a_preview_on_disk_takes_no_lock_and_leaves_no_trace(tmp_path: Path) -> None:
    with tv.init(tmp_path, "Ada", "ada@example.org") as repo:
        with repo.edit() as co:
            labels(co, a=1, b=1, c=1)
            co.commit("base")
        repo.create_branch("side")
        for branch, value in [("main", 2), ("side", 4)]:
            with repo.transaction(branch) as tx:
                labels(tx, a=value)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
        operations = repo.operations()
        with repo.edit() as co:
            co["labels"]["b"] = 5
            found = repo.preview_merge("side", strategy={"wide": "mean"})
            co.reset()
        assert [conflict.column for conflict in found.conflicts] == ["labels"]
        assert found.diff.columns["wide"].modified == ["a"]
        (change,) = found.diff.columns["wide"].changes()
        assert change.after[0] == 3
        assert repo.operations()[-len(operations) :] == operations
        after = {path for path in tmp_path.rglob("*.h5") if path.is_file()}
        assert after <= set(before)
        into_side = repo.preview_merge("main", into="side", fast_forward=False)
        assert into_side.ours == repo.resolve("side")
