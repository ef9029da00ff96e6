"""Names, people and times of Hangar, as they are here."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import InvalidColumnError
from tensorvcs.formats.hangar.names import (
    legal_branch,
    legal_column,
    legal_identity,
    legal_message,
    moment_of,
    schema_of,
)
from tensorvcs.history.commit import check_message
from tensorvcs.history.refs import check_ref_name
from tensorvcs.objects.commit import Identity
from tensorvcs.objects.schema import Schema, check_column_name

# What Hangar takes, and "origin/master" after a fetch.
NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64})?", fullmatch=True)


@given(NAMES)
def test_every_branch_gets_a_legal_name(name: str) -> None:
    found = legal_branch(name)
    assert check_ref_name(found) == found
    assert legal_branch(found) == found


def test_branches() -> None:
    for name in ("master", "a.b", "origin/master"):
        assert legal_branch(name) == name
    assert legal_branch("HEAD") == "hangar-HEAD"
    assert legal_branch("a..b") == "hangar-a_b"
    assert legal_branch("-x.lock") == "hangar--x_lock"


@given(st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True))
def test_every_column_gets_a_legal_name(name: str) -> None:
    found = legal_column(name)
    assert check_column_name(found) == found
    assert found in (name, "_" + name)


@given(st.text(), st.text(), st.text())
def test_every_author_and_message_is_legal(name: str, email: str, message: str) -> None:
    legal_identity(name, email)
    assert check_message(legal_message(message))


def test_authors_and_messages() -> None:
    assert legal_identity("Ada L", "ada@x.org") == Identity("Ada L", "ada@x.org")
    assert legal_identity("Ada <x>\n", " ") == Identity("Ada  x", "unknown")
    assert legal_identity("\ud800", "e") == Identity("?", "e")
    assert legal_message(" kept\n") == " kept\n"
    assert legal_message(" \n") == "(no message)"


def test_times() -> None:
    assert moment_of(1.5) == dt.datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=dt.UTC)
    for seconds in (float("nan"), float("inf"), 1e20):
        with pytest.raises((ValueError, OverflowError)):
            moment_of(seconds)


def test_schemas() -> None:
    fields = {"kind": "ndarray", "nested": True, "variable_shape": True, "dtype": "float32"}
    assert schema_of({**fields, "shape": [3, 4]}) == Schema(
        "ndarray", "float32", (3, 4), variable_shape=True, nested=True
    )
    text = {"kind": "str", "nested": False, "variable_shape": True, "dtype": "<class'str'>"}
    assert schema_of({**text, "shape": None}) == Schema("str")
    with pytest.raises(InvalidColumnError, match="'float128' is not supported"):
        schema_of({**fields, "dtype": "float128", "shape": [1]})
