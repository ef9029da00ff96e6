from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    InvalidKeyError,
    SampleNotFoundError,
)
from tensorvcs.history.blaming.blamed import Blame, blame_column
from tensorvcs.objects.commit import Identity
from tests.memory_repository import ADA, MemoryRepository

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorvcs.history.commit import Commit

BOB = Identity("Bob", "bob@example.org")


def commit(repo: MemoryRepository, message: str, change: Any, author: Identity = ADA) -> Commit:
    with repo.edit() as co:
        change(co)
        made: Commit = co.commit(message, author=author)
        return made


@pytest.fixture
def repo() -> MemoryRepository:
    """Commits: 1 labels 0, 1, a, b and scans; 2, by Bob, changes 1 and b; 3 adds c."""
    made = MemoryRepository()

    def one(co: Any) -> None:
        labels = co.add_ndarray_column("labels", (), "int64")
        labels.update({0: 0, 1: 0, "a": 0, "b": 0})
        scans = co.add_ndarray_column("scans", (), "int8", nested=True)
        scans.update({"s": {1: 1, 2: 2}, 7: {"x": 1}})

    commit(made, "1", one)

    def two(co: Any) -> None:
        co["labels"].update({1: 1, "b": 1})
        co["scans"].update({"s": {2: 3}})

    commit(made, "2", two, BOB)
    commit(made, "3", lambda co: co["labels"].update({"c": 1}))
    return made


def blame(
    repo: MemoryRepository, column: str = "labels", keys: Iterable[Any] | None = None
) -> Blame:
    return blame_column(repo.objects, repo.nodes, repo.load("main"), column, keys)


def told(found: Blame) -> dict[Any, str]:
    return {key: commit.message for key, commit in found.items()}


def test_each_sample_has_its_commit_in_key_order(repo: MemoryRepository) -> None:
    found = blame(repo)
    assert list(found) == [0, 1, "a", "b", "c"]
    assert told(found) == {0: "1", 1: "2", "a": "1", "b": "2", "c": "3"}
    assert [made.message for made in found.values()] == ["1", "2", "1", "2", "3"]
    assert {key: found[key].message for key in found} == told(found)
    assert len(found) == 5
    assert found[np.int64(1)] == repo.load("main~1")
    assert repr(found) == (
        f"<Blame of column 'labels' at {repo.load('main').short_id}: 5 samples, 3 commits>"
    )


def test_some_samples(repo: MemoryRepository) -> None:
    assert told(blame(repo, keys=["b", 0, "b"])) == {0: "1", "b": "2"}
    assert told(blame(repo, keys=np.array([1]))) == {1: "2"}
    assert told(blame(repo, keys=[])) == {}
    assert blame(repo, keys=[]).by_author() == []


def test_subsamples_have_their_commits_by_pair(repo: MemoryRepository) -> None:
    found = blame(repo, "scans")
    assert told(found) == {(7, "x"): "1", ("s", 1): "1", ("s", 2): "2"}
    assert list(found) == [(7, "x"), ("s", 1), ("s", 2)]
    assert found["s", 2].message == "2"
    assert ("s", 3) not in found
    assert "s" not in found
    assert told(blame(repo, "scans", ["s"])) == {("s", 1): "1", ("s", 2): "2"}
    assert told(blame(repo, "scans", [("s", 2), 7])) == {(7, "x"): "1", ("s", 2): "2"}
    assert list(found.changed_by("bob")) == [("s", 2)]


def test_an_empty_column_has_an_empty_blame(repo: MemoryRepository) -> None:
    commit(repo, "4", lambda co: co.add_str_column("texts"))
    found = blame(repo, "texts")
    assert (dict(found), found.by_author(), found.by_commit()) == ({}, [], [])
    assert "0 samples, 0 commits" in found._repr_html_()


def test_a_key_that_is_not_there(repo: MemoryRepository) -> None:
    found = blame(repo, keys=["a"])
    assert "b" not in found
    assert True not in found
    assert 2**70 not in found
    with pytest.raises(SampleNotFoundError, match="the blame of column 'labels' has no sample 'b'"):
        found["b"]
    with pytest.raises(InvalidKeyError, match="a key of a nested column is a pair"):
        blame(repo, "scans")["s"]


def test_summaries_count_and_share(repo: MemoryRepository) -> None:
    found = blame(repo)
    assert [(one.author, one.count, one.share) for one in found.by_author()] == [
        (ADA, 3, 0.6),
        (BOB, 2, 0.4),
    ]
    # Of equal counts the newest comes first.
    assert [(one.commit.message, one.count, one.share) for one in found.by_commit()] == [
        ("2", 2, 0.4),
        ("1", 2, 0.4),
        ("3", 1, 0.2),
    ]


@pytest.mark.parametrize(
    ("author", "keys"),
    [
        ("ADA@", [0, "a", "c"]),
        ("bob", [1, "b"]),
        (BOB, [1, "b"]),
        ("eve", []),
        ("", [0, 1, *"abc"]),
    ],
)
def test_the_keys_of_an_author(
    repo: MemoryRepository, author: str | Identity, keys: list[Any]
) -> None:
    assert list(blame(repo).changed_by(author)) == keys


def test_commits_are_read_when_they_are_asked_for(repo: MemoryRepository) -> None:
    found = blame(repo)
    repo.objects.get_count = 0
    assert found["c"].message == "3"
    assert found["c"].message == "3"
    assert repo.objects.get_count == 1
    told(found)
    found.by_author()
    assert repo.objects.get_count == 3


def test_the_notebook_shows_authors_and_commits(repo: MemoryRepository) -> None:
    shown = blame(repo)._repr_html_()
    assert shown.count("<tr>") == (1 + 2) + (1 + 3)
    assert "Bob &lt;bob@example.org&gt;" in shown
    for at in range(9):
        who = Identity(f"User {at}", f"{at}@example.org")
        commit(repo, "m", lambda co, at=at: co["labels"].update({100 + at: at}), who)
    assert blame(repo)._repr_html_().count("<tr>") == 2 * (1 + 8 + 1)


@pytest.mark.parametrize(
    ("column", "keys", "error", "text"),
    [
        ("masks", None, ColumnNotFoundError, "no column 'masks' in commit .*: labels, scans"),
        ("labels", ["z", "a", 5], SampleNotFoundError, "'labels' has no sample 5 and 1 more"),
        ("labels", [("a", 1)], InvalidKeyError, "not tuple"),
        ("labels", "cat/1", InvalidInputError, r"write keys=\['cat/1'\]"),
        ("scans", [("s", 9)], SampleNotFoundError, r"'scans' has no sample \('s', 9\)\n"),
        ("scans", ["t"], SampleNotFoundError, "'scans' has no sample 't'\n"),
        ("scans", [("s",)], InvalidKeyError, "a pair"),
        ("scans", [1.5], InvalidKeyError, "not float"),
    ],
)
def test_what_cannot_be_blamed(
    repo: MemoryRepository, column: str, keys: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        blame(repo, column, keys)
