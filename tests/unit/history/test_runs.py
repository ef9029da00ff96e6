"""Runs: records of what models were trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import (
    InvalidInputError,
    ObjectDamagedError,
    RefNameError,
    RunExistsError,
    RunNotFoundError,
)
from tensorvcs.history.refs import RUNS
from tensorvcs.history.runs import MAX_RECORD_NBYTES, commits_named, find_run
from tensorvcs.objects.encoding import encode_object
from tensorvcs.storage.interfaces import RefChange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as opened:
        with opened.edit() as co:
            co.add_ndarray_column("labels", (), "int64").extend(np.arange(4))
            co.commit("one")
        yield opened


def test_a_run_keeps_what_it_was_given(repo: tv.Repository) -> None:
    commit = repo.resolve("main")
    provenance = {"commit": commit.id, "columns": ["labels"], "lr": 0.1, "deep": {"a": [1, None]}}
    run = repo.record_run(
        "exp/1", provenance, metrics={"acc": float(np.float32(0.5)), "loss": float("nan")}
    )
    assert run.name == "exp/1"
    assert list(repo.runs) == ["exp/1"]
    found = repo.find_run("exp/1")
    assert dict(found.provenance) == provenance
    assert found.metrics["acc"] == 0.5
    assert np.isnan(found.metrics["loss"])
    assert found.commits == (commit,)
    assert found.user.startswith("Ada")
    assert repr(found) == f"<Run 'exp/1' on {commit.short_id}>"
    assert repo.operations()[0].command == "run record"


def test_a_name_is_taken_once(repo: tv.Repository) -> None:
    commit = repo.resolve("main").id
    repo.record_run("a", {"commit": commit, "n": 1})
    with pytest.raises(RunExistsError, match="'a' is recorded already"):
        repo.record_run("a", {"commit": commit})
    repo.record_run("a", {"commit": commit, "n": 2}, overwrite=True)
    assert repo.find_run("a").provenance["n"] == 2
    repo.undo()
    assert repo.find_run("a").provenance["n"] == 1
    assert repo.delete_run("a").name == "a"
    with pytest.raises(RunNotFoundError, match="no run 'a'"):
        repo.find_run("a")
    with pytest.raises(RunNotFoundError):
        repo.delete_run("a")
    repo.undo()
    assert list(repo.runs) == ["a"]


@pytest.mark.parametrize(
    ("provenance", "text"),
    [
        ({}, "names no commit"),
        ({"commit": "main"}, "'main', which is no commit id"),
        ({"commit": "ab" * 32}, "names commit abababababab, which is not here"),
        ({"commit": None}, "names no commit"),
        ({"commit": "HEAD", "x": {1, 2}}, "cannot be JSON"),
        ({"commit": "HEAD", "x": "x" * MAX_RECORD_NBYTES}, "at most 1,048,576 are allowed"),
    ],
)
def test_what_is_no_record(repo: tv.Repository, provenance: dict[str, Any], text: str) -> None:
    if provenance.get("commit") == "HEAD":
        provenance["commit"] = repo.resolve("main").id
    with pytest.raises(InvalidInputError, match=text):
        repo.record_run("a", provenance)
    assert not repo.runs


def test_metrics_are_numbers_and_names_are_legal(repo: tv.Repository) -> None:
    commit = repo.resolve("main").id
    for value in ("high", True, None):
        with pytest.raises(InvalidInputError, match="metric 'acc' is no number"):
            repo.record_run("a", {"commit": commit}, metrics={"acc": value})  # type: ignore[dict-item]
    with pytest.raises(RefNameError, match="run name 'a b'"):
        repo.record_run("a b", {"commit": commit})


def test_commits_of_a_mix_are_all_found() -> None:
    mix = {"parts": {"a": {"commit": "x"}, "b": {"commit": "y"}}, "more": [{"commit": "x"}]}
    assert commits_named(mix) == ["x", "y"]


def test_a_commit_of_a_run_is_never_garbage(repo: tv.Repository) -> None:
    with repo.edit() as co:
        co["labels"][0] = 7
        kept = co.commit("seen by a model")
    with repo.edit() as co:
        co["labels"][0] = 8
        lost = co.commit("seen by nobody")
    repo.record_run("a", {"commit": kept.id})
    repo.reset("HEAD~2")
    repo.gc(grace=0)
    assert repo.checkout(kept.id)["labels", 0] == 7
    with pytest.raises(tv.errors.NotFoundError):
        repo.checkout(lost.id)


def test_a_damaged_record_is_named(repo: tv.Repository) -> None:
    whole = {"provenance": "[]", "metrics": "{}", "commits": [], "user": "", "time": 0, "offset": 0}
    cases: list[dict[str, Any]] = [{"commits": []}, whole]
    for fields in cases:
        value = encode_object("run", 1, fields)
        refs = repo._stores.refs
        refs.swap([RefChange(RUNS + "a", refs.get(RUNS + "a"), value)])
        with pytest.raises(ObjectDamagedError, match="record of run 'a' cannot be read"):
            find_run(repo._stores, "a")
