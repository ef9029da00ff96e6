"""Histories that the real Hangar has written, value by value and commit by commit."""

from __future__ import annotations

import datetime as dt
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import lmdb
import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import (
    BranchExistsError,
    UncommittedChangesError,
    UnreadableFileError,
    WorkInProgressError,
)
from tensorvcs.formats.hangar import import_hangar
from tensorvcs.formats.hangar.commit_writer import CommitWriter
from tensorvcs.formats.hangar.importing import topological
from tensorvcs.formats.hangar.reader_client import HangarCommit, HangarHistory
from tensorvcs.storage import garbage_site
from tests.hangar_repositories import exact, needs_hangar, write_story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.hangar_repositories import Story

    Stories = Callable[[str], Story]


def by_original(repo: tv.Repository) -> dict[str, tv.Commit]:
    """Return the imported commits by Hangar's name."""
    found = {}
    for branch in repo.branches.values():
        for commit in repo.log(branch):
            found[commit.metadata["hangar-commit"]] = commit
    return found


def state(repo: tv.Repository) -> Any:
    return repo.head, dict(repo.branches), repo.operations()


@needs_hangar
def test_every_commit_and_every_value(repo: tv.Repository, story: Stories) -> None:
    theirs = story("history")
    report = import_hangar(repo, theirs.folder)
    commits = by_original(repo)
    assert set(commits) == set(theirs.commits)
    for digest, expected in theirs.commits.items():
        commit, spec = commits[digest], expected["spec"]
        assert exact(repo.checkout(commit).columns) == exact(expected["columns"])
        assert list(commit.parents) == [commits[parent].id for parent in expected["parents"]]
        assert commit.message == spec["commit_message"]
        assert (commit.author, commit.committer) == (tv.Identity("Ada", "ada@example.org"),) * 2
        assert abs(commit.time.timestamp() - spec["commit_time"]) < 1e-6
        assert commit.time.utcoffset() == dt.timedelta(0)
        assert commit.metadata == {"hangar-commit": digest}
    assert sorted(len(commit.parents) for commit in commits.values()) == [0, 1, 1, 1, 1, 2]
    assert dict(repo.branches) == {
        name: commits[digest] for name, digest in theirs.branches.items()
    }
    assert (report.commits, report.skipped, report.missing, report.notes) == (6, 0, (), ())
    assert dict(report.branches) == dict(repo.branches)
    assert repr(report) == ("<HangarImport: 6 commits, 48 samples, 2 branches, 0 there before>")
    assert repo.branches["master"]._repr_html_() in report._repr_html_()
    assert repo.head == "master"
    assert repo.verify().is_sound


@needs_hangar
def test_schemas(repo: tv.Repository, story: Stories) -> None:
    import_hangar(repo, story("history").folder)
    first = repo.checkout("master~3")
    assert {name: column.schema.spelling for name, column in first.columns.items()} == {
        "blobs": "bytes",
        "boxes": "float32 ≤(5, 4)",
        "captions": "str",
        "notes": "nested str",
        "nothing-yet": "str",
        "numbers": "float64 (2)",
        "pictures": "uint16 (20, 30, 3)",
        "pixels": "uint8 (4, 3)",
        "ragged": "nested int8 ≤(9)",
        "raw": "nested bytes",
        "scans": "nested int32 (3, 2)",
        "vectors": "float32 (500)",
    }
    last = repo.checkout("master")
    assert last["numbers"].schema.spelling == "int64 (3)"
    assert last["captions"].schema.spelling == "nested str"


@needs_hangar
def test_only_what_changed_is_read(repo: tv.Repository, story: Stories) -> None:
    """A merge is compared with the parent that has most in common with it."""
    counts: list[int] = []
    report = import_hangar(
        repo, story("history").folder, progress=lambda done, total: counts.append(done)
    )
    # 8 + 5 + 4 + 1 + 3 + 3 + 2, then 6 nested; 5 changed; 3 on the side; of the merge the 3 of
    # the side, not the 5 of the branch; 3 in columns made anew.
    assert report.samples == 26 + 8 + 5 + 3 + 3 + 3
    assert counts == sorted(counts)
    assert counts[-1] == report.samples


@needs_hangar
def test_one_operation_that_undo_takes_back(repo: tv.Repository, story: Stories) -> None:
    before = state(repo)
    folder = story("history").folder
    import_hangar(repo, folder)
    first = dict(repo.branches)
    assert [str(o.description) for o in repo.operations()] == ["import 6 commits from Hangar"]
    repo.undo()
    assert state(repo)[:2] == before[:2]
    assert import_hangar(repo, folder).commits == 6
    # The same history has the same commits.
    assert dict(repo.branches) == first


@needs_hangar
def test_an_import_that_is_broken_off_leaves_nothing(repo: tv.Repository, story: Stories) -> None:
    """Nothing to be seen, nothing unsound, and nothing in the way of the next one."""
    before = state(repo)
    folder = story("history").folder

    def interrupt(done: int, total: int | None) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_hangar(repo, folder, progress=interrupt)
    assert state(repo) == before
    assert repo.verify().is_sound
    assert import_hangar(repo, folder).commits == 6
    assert repo.verify().is_sound


@needs_hangar
def test_again_brings_what_is_new(repo: tv.Repository, tmp_path: Path) -> None:
    theirs = write_story("growing", tmp_path / "theirs")
    assert import_hangar(repo, theirs.folder).commits == 2
    after = state(repo)
    again = import_hangar(repo, theirs.folder)
    assert (again.commits, again.skipped, again.samples) == (0, 2, 0)
    assert state(repo) == after
    grown = write_story("growing", tmp_path / "theirs")
    report = import_hangar(repo, theirs.folder)
    assert (report.commits, report.skipped, report.samples) == (1, 2, 1)
    assert set(repo.branches) == {"master", "b1", "b2"}
    assert set(by_original(repo)) == set(grown.commits)
    last = repo.checkout("master")
    assert exact(last.columns) == exact(grown.commits[grown.branches["master"]]["columns"])


@needs_hangar
def test_a_branch_ahead_of_hangar_stays(repo: tv.Repository, story: Stories) -> None:
    folder = story("growing").folder
    import_hangar(repo, folder)
    with repo.edit() as staging:
        del staging["captions"]
        mine = staging.commit("Mine")
    report = import_hangar(repo, folder)
    assert repo.branches["master"] == mine
    assert report.branches["master"].id == mine.parents[0]


@needs_hangar
def test_a_branch_of_another_history_is_refused_first(repo: tv.Repository, tmp_path: Path) -> None:
    theirs = write_story("growing", tmp_path / "theirs")
    import_hangar(repo, theirs.folder)
    with repo.edit() as staging:
        del staging["captions"]
        staging.commit("Mine")
    write_story("growing", tmp_path / "theirs")
    before = state(repo)
    with pytest.raises(BranchExistsError, match="'master' is here already") as caught:
        import_hangar(repo, theirs.folder)
    assert caught.value.hint == "give it another name first: tvcs branch --move master master-2"
    assert state(repo) == before
    repo.rename_branch("master", "mine")
    assert import_hangar(repo, theirs.folder).commits == 1


@needs_hangar
def test_a_commit_that_only_has_the_metadata_is_none_of_hangar(
    repo: tv.Repository, story: Stories
) -> None:
    """An amended commit keeps the metadata; its content is not what Hangar has."""
    theirs = story("growing")
    import_hangar(repo, theirs.folder)
    original = repo.resolve("master")
    with repo.edit() as staging:
        staging["captions"]["a"] = "amended"
        staging.commit(amend=True)
    assert repo.resolve("master").metadata == original.metadata
    repo.rename_branch("master", "mine")
    for name in set(repo.branches) - {"mine"}:
        repo.delete_branch(name, force=True)
    import_hangar(repo, theirs.folder)
    assert repo.branches["master"] == original


@needs_hangar
def test_staged_changes_are_not_lost(repo: tv.Repository, story: Stories) -> None:
    theirs = story("growing")
    with repo.edit() as staging:
        staging.add_str_column("mine")["a"] = "b"
    import_hangar(repo, theirs.folder)
    # The current branch has no commit, and its changes keep it.
    assert (repo.head, repo.is_dirty) == ("main", True)
    repo.undo()
    with repo.edit() as staging:
        staging.reset()
    repo.switch("master", create=True)
    with repo.edit() as staging:
        staging.add_str_column("mine")["a"] = "b"
    before = state(repo)
    with pytest.raises(UncommittedChangesError, match="'master' would move"):
        import_hangar(repo, theirs.folder)
    assert state(repo) == before


@needs_hangar
def test_into_a_bare_repository(tmp_path: Path, story: Stories) -> None:
    with tv.init(tmp_path / "bare", bare=True) as bare:
        import_hangar(bare, story("growing").folder)
        assert bare.head == "master"


@needs_hangar
def test_what_is_spelled_otherwise_is_noted(repo: tv.Repository, story: Stories) -> None:
    theirs = story("untidy")
    report = import_hangar(repo, theirs.folder)
    assert set(repo.branches) == {"master", "hangar-HEAD", "hangar-a_b"}
    commit = repo.resolve("master")
    assert commit.message == "(no message)"
    assert commit.author == tv.Identity("Ada  A", "unknown")
    assert exact(repo.checkout().columns) == {
        "_-dashed": {0: ("<i2", (2,), b"\1\0\2\0")},
        "_.hidden": {"a": "b", "c": "d"},
    }
    first, last = commit.parents[0], commit
    names = [repo.resolve(c).metadata["hangar-commit"][:14] for c in (first, last.id)]
    staged = "changed samples in its staging area: 2, not imported; commit them with Hangar and "
    letters = "commits with an author or a message that cannot be kept letter by letter: 2, "
    assert report.notes == (
        "branch 'HEAD' is 'hangar-HEAD' here",
        "branch 'a..b' is 'hangar-a_b' here",
        staged + "import again",
        "commits that no branch reaches: 1, not imported",
        "column '.hidden' is '_.hidden' here",
        "column '-dashed' is '_-dashed' here",
        letters + ", ".join(names),
    )
    assert import_hangar(repo, theirs.folder).skipped == 2


@needs_hangar
def test_a_key_that_hangar_cannot_read_back(repo: tv.Repository, story: Stories) -> None:
    import_hangar(repo, story("boolean_key").folder)
    assert exact(repo.checkout().columns) == {"x": {1: ("|i1", (2,), b"\1\2")}}


@needs_hangar
def test_a_repository_without_commits(repo: tv.Repository, story: Stories) -> None:
    before = state(repo)
    report = import_hangar(repo, story("empty").folder / ".hangar")
    assert (report.commits, dict(report.branches)) == (0, {})
    assert state(repo) == before


@needs_hangar
def test_a_dtype_that_there_is_not(repo: tv.Repository, story: Stories) -> None:
    before = state(repo)
    with pytest.raises(UnreadableFileError, match="column 'wide': dtype 'float128' is not"):
        import_hangar(repo, story("longdouble").folder)
    assert state(repo) == before


@needs_hangar
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "huge_key",
            r"commit a=\w+: key 18446744073709551616 does not fit a signed 64-bit integer",
        ),
        ("taken_names", r"commit a=\w+: a column '_\.x' of str exists already"),
    ],
)
def test_keys_and_names_that_cannot_be(
    repo: tv.Repository, story: Stories, name: str, problem: str
) -> None:
    before = state(repo)
    with pytest.raises(UnreadableFileError, match=problem):
        import_hangar(repo, story(name).folder)
    assert state(repo) == before


@needs_hangar
def test_a_value_that_is_lost_is_an_error(repo: tv.Repository, story: Stories) -> None:
    before = state(repo)
    folder = story("lossy").folder
    with pytest.raises(UnreadableFileError) as caught:
        import_hangar(repo, folder)
    assert str(caught.value).startswith(f"{folder}: column 'numbers', key 1: its data cannot be ")
    assert "--allow-missing" in str(caught.value.hint)
    assert state(repo) == before


@needs_hangar
def test_lost_values_left_out(repo: tv.Repository, story: Stories) -> None:
    report = import_hangar(repo, story("lossy").folder, allow_missing=True)
    assert [(m.column, m.key, m.reason.partition(":")[0]) for m in report.missing] == [
        ("numbers", 1, "its data cannot be read"),
        ("words", "elsewhere", "its data was never fetched from the remote"),
        ("words", "lost", "Hangar has lost its data"),
        ("parts", ("s", 1), "Hangar has lost its data"),
        ("words", "changed", "Hangar has lost its data"),
    ]
    first, second, third = reversed([*repo.log()])
    assert [c.metadata.get("hangar-missing") for c in (first, second, third)] == ["4", "1", None]
    numbers = {0: ("<i4", (3,), np.array([1, 2, 3], np.int32).tobytes())}
    parts = {"s": {2: "two"}}
    for commit, words in [
        (first, {"kept": "here", "changed": "before"}),
        # What it was changed to is lost; what it was before is not what Hangar has.
        (second, {"kept": "here"}),
        (third, {"kept": "here"}),
    ]:
        found = exact(repo.checkout(commit).columns)
        assert found == {"numbers": numbers, "parts": parts, "words": words}
    assert import_hangar(repo, story("lossy").folder).skipped == 3


@needs_hangar
def test_a_damaged_commit(repo: tv.Repository, story: Stories, tmp_path: Path) -> None:
    """The records of one commit under the name of another, and then under none."""
    folder = tmp_path / "theirs"
    shutil.copytree(story("growing").folder, folder)
    digest = story("growing").branches["master"]
    (parent,) = story("growing").commits[digest]["parents"]
    before = state(repo)
    with change_lmdb(folder / ".hangar" / "ref.lmdb") as txn:
        txn.put(f"{digest}:ref".encode(), txn.get(f"{parent}:ref".encode()))
    with pytest.raises(UnreadableFileError, match=f"commit {digest} is damaged: it hashes to a="):
        import_hangar(repo, folder)
    with change_lmdb(folder / ".hangar" / "ref.lmdb") as txn:
        txn.delete(f"{digest}:ref".encode())
    with pytest.raises(UnreadableFileError, match=f"commit {digest} is not there, or not whole"):
        import_hangar(repo, folder)
    assert state(repo) == before


@needs_hangar
def test_a_repository_of_a_hangar_that_is_too_old(
    repo: tv.Repository, story: Stories, tmp_path: Path
) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(story("growing").folder, folder)
    with change_lmdb(folder / ".hangar" / "branch.lmdb") as txn:
        txn.put(b"software_version", b"0.4.0")
    with pytest.raises(UnreadableFileError, match=r"by Hangar 0\.4\.0, which Hangar 0\.5\.2 can"):
        import_hangar(repo, folder)


@needs_hangar
def test_a_schema_that_is_lost(repo: tv.Repository, story: Stories, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(story("growing").folder, folder)
    with change_lmdb(folder / ".hangar" / "hash.lmdb") as txn:
        for key, value in txn.cursor():
            if key.startswith(b"s:") and b"bytes" in value:
                txn.delete(key)
    with pytest.raises(UnreadableFileError, match="the schema of column 'blobs' of commit a="):
        import_hangar(repo, folder)


@contextmanager
def change_lmdb(file: Path) -> Iterator[Any]:
    environment = lmdb.open(str(file), subdir=False, lock=False, map_size=1 << 30)
    try:
        with environment.begin(write=True) as txn:
            yield txn
    finally:
        environment.close()


def test_no_hangar_repository(repo: tv.Repository, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="nowhere: there is no such folder"):
        import_hangar(repo, tmp_path / "nowhere")
    with pytest.raises(UnreadableFileError, match="it is no Hangar repository") as caught:
        import_hangar(repo, tmp_path)
    assert caught.value.hint == "name the folder that has '.hangar' in it"


def test_parents_come_before_children() -> None:
    parents = {"d": ("b", "c"), "b": ("a",), "c": ("a",), "a": (), "e": ("c",)}
    commits = {name: HangarCommit(name, above, 0.0, "", "", "") for name, above in parents.items()}
    history = HangarHistory({"x": "e", "main": "d"}, "main", 0, 0, commits)
    order = [commit.digest for commit in topological(history)]
    assert sorted(order) == sorted(parents)
    assert all(order.index(p) < order.index(c) for c, above in parents.items() for p in above)


@needs_hangar
def test_garbage_collected_beside_an_import_takes_no_commit(
    repo: tv.Repository, story: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage_site, "WAIT_SECONDS", 0.0)
    write = CommitWriter.write
    refused = 0

    def write_and_collect(writing: CommitWriter, *arguments: Any) -> None:
        nonlocal refused
        write(writing, *arguments)
        with tv.open(repo.path) as beside, pytest.raises(WorkInProgressError):
            beside.gc(0)
        refused += 1

    monkeypatch.setattr(CommitWriter, "write", write_and_collect)
    theirs = story("history")
    import_hangar(repo, theirs.folder)
    assert refused == len(theirs.commits)
    assert set(by_original(repo)) == set(theirs.commits)
    assert repo.verify().is_sound
    repo.gc(0)
    assert set(by_original(repo)) == set(theirs.commits)
