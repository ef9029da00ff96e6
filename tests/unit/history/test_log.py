from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tensorvcs.errors import InvalidInputError, InvalidKeyError
from tensorvcs.history.ancestry import walk
from tensorvcs.history.commit import Commit
from tensorvcs.history.log import filter_log
from tests.memory_repository import START_MICROSECONDS, MemoryRepository


@pytest.fixture
def repo() -> MemoryRepository:
    """Commits 1 to 5: labels made; label a; text b; scans; nothing of labels but a deleted."""
    made = MemoryRepository()

    def one(co: Any) -> None:
        co.add_ndarray_column("labels", (), "int64")["a"] = 1
        co.add_str_column("texts")
        co.add_ndarray_column("scans", (), "int8", nested=True)

    made.commit(one, message="1")
    made.commit(lambda co: co["labels"].update({"a": 2, "b": 2}), message="2")
    made.commit(lambda co: co["texts"].update({"b": "x"}), message="3")
    made.commit(lambda co: co["scans"].update({"s": {1: 1, 2: 2}}), message="4")
    made.commit(lambda co: co["labels"].pop("a"), message="5")
    return made


def log(repo: MemoryRepository, **filters: Any) -> list[str]:
    commits = (Commit(d, o) for d, o in walk(repo.stores.objects, [repo.resolve("main")]))
    found = filter_log(commits, repo.stores.objects, repo.nodes, **filters)
    return [commit.message for commit in found]


@pytest.mark.parametrize(
    ("filters", "messages"),
    [
        ({}, "54321"),
        ({"limit": 2}, "54"),
        ({"limit": 0}, ""),
        ({"column": "labels"}, "521"),
        ({"column": "texts"}, "31"),
        ({"column": "nothing"}, ""),
        ({"column": "labels", "key": "a"}, "521"),
        ({"column": "labels", "key": "b"}, "2"),
        ({"column": "texts", "key": "b"}, "3"),
        ({"key": "b"}, "32"),
        ({"key": "nothing"}, ""),
        ({"key": 7}, ""),
        ({"column": "scans", "key": "s"}, "4"),
        ({"column": "scans", "key": ("s", 1)}, "4"),
        ({"column": "scans", "key": ("s", 3)}, ""),
        ({"column": "labels", "key": ("a", 1)}, ""),
        ({"column": "labels", "limit": 1}, "5"),
        ({"author": "ADA"}, "54321"),
        ({"author": "example.org"}, "54321"),
        ({"author": "bob"}, ""),
        ({"grep": "3"}, "3"),
        ({"grep": ""}, "54321"),
        ({"merges": False}, "54321"),
        ({"merges": True}, ""),
        ({"metadata": {}}, "54321"),
        ({"metadata": {"source": "a"}}, ""),
    ],
)
def test_filters(repo: MemoryRepository, filters: dict[str, Any], messages: str) -> None:
    assert "".join(log(repo, **filters)) == messages


def test_since_takes_a_time_with_and_without_a_zone(repo: MemoryRepository) -> None:
    third = repo.load("main~2").time
    assert "".join(log(repo, since=third)) == "543"
    assert "".join(log(repo, since=third + dt.timedelta(microseconds=1))) == "54"
    assert "".join(log(repo, since=third.astimezone().replace(tzinfo=None))) == "543"
    assert third.timestamp() > START_MICROSECONDS / 1e6
    assert "".join(log(repo, until=third)) == "321"
    assert "".join(log(repo, until=third - dt.timedelta(microseconds=1))) == "21"
    assert "".join(log(repo, since=third, until=third)) == "3"


def test_by_metadata_and_message(repo: MemoryRepository) -> None:
    for message, pairs in [
        ("Größe\n\nsecond", {"source": "uni-3"}),
        ("other", {"source": "uni-3", "reviewed": "yes"}),
        ("third", {"source": "uni-4"}),
    ]:
        with repo.edit() as co:
            co["texts"]["b"] = message
            co.commit(message, metadata=pairs)
    assert log(repo, metadata={"source": "uni-3"}) == ["other", "Größe\n\nsecond"]
    assert log(repo, metadata={"source": "uni-3", "reviewed": "yes"}) == ["other"]
    assert log(repo, metadata={"source": "uni"}) == []
    assert log(repo, grep="GRÖSSE") == log(repo, grep="second") == ["Größe\n\nsecond"]
    assert log(repo, grep="th", metadata={"source": "uni-4"}) == ["third"]
    with pytest.raises(InvalidInputError):
        log(repo, metadata={"source": 3})


def test_a_merge_that_takes_one_side_touches_nothing(repo: MemoryRepository) -> None:
    repo.branch_at("side", "main~4")
    repo.commit(lambda co: co["texts"].update({"side": "x"}), "side", "side")
    repo.merge("side")
    assert log(repo, column="labels") == ["5", "2", "1"]
    assert log(repo, column="texts", key="side") == ["side"]
    assert log(repo, column="texts") == ["Merge side", "side", "3", "1"]
    assert log(repo, merges=True) == ["Merge side"]
    assert log(repo, merges=False, limit=2) == ["side", "5"]


def test_since_is_a_time(repo: MemoryRepository) -> None:
    with pytest.raises(InvalidInputError, match="since is a datetime, not str"):
        log(repo, since="2024-01-01")
    with pytest.raises(InvalidInputError, match="until is a datetime, not date"):
        log(repo, until=dt.date(2024, 1, 1))


class Nowhen(dt.datetime):
    """A time so early that its zone would come before all dates."""

    def astimezone(self, tz: dt.tzinfo | None = None) -> Any:
        raise OverflowError


def test_a_time_that_no_zone_has(repo: MemoryRepository) -> None:
    with pytest.raises(InvalidInputError, match="which no time zone has"):
        log(repo, since=Nowhen(1, 1, 1))


@pytest.mark.parametrize("limit", [-1, True, 1.5])
def test_a_limit_counts(repo: MemoryRepository, limit: Any) -> None:
    with pytest.raises(InvalidInputError):
        log(repo, limit=limit)


def test_a_key_that_is_none_is_refused(repo: MemoryRepository) -> None:
    with pytest.raises(InvalidKeyError):
        log(repo, column="labels", key=True)


def test_a_column_is_followed_through_renames_on_each_line_of_work() -> None:
    repo = MemoryRepository()

    def first(co: Any) -> None:
        co.add_ndarray_column("tags", (), "int64").update({"a": 1, "b": 2, "c": 3})

    repo.commit(first, message="1")
    repo.commit(lambda co: co["tags"].update({"a": 2}), message="2")
    repo.commit(lambda co: co.rename_column("tags", "labels"), message="3")
    repo.commit(lambda co: co.add_str_column("texts"), message="4")
    repo.commit(lambda co: co["labels"].update({"b": 9}), message="5")
    assert log(repo, column="labels") == list("5321")
    # A new name changes the column, and none of its samples.
    assert log(repo, column="labels", key="a") == list("21")
    assert log(repo, column="labels", key="b") == list("51")
    assert log(repo, column="labels", author="ada", limit=3) == list("532")
    # The old name alone was there until it was given up.
    assert log(repo, column="tags") == list("321")
