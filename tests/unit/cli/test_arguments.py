"""Words of the command line, turned into values."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click
import pytest

from cli.arguments import to_moment, to_pairs, to_shape, to_size, typed_key, typed_sample
from tensorvcs.objects.schema import Schema

CONTEXT = click.Context(click.Command("test"))
OPTION = click.Option(["--test"])
NOW = dt.datetime(2026, 1, 31, 12, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize("text", ["224x112", "224X112", "224×112", "224,112", " 224x112 "])
def test_size(text: str) -> None:
    assert to_size(CONTEXT, OPTION, text) == (224, 112)


@pytest.mark.parametrize("text", ["", "224", "0x4", "4x0", "-4x4", "4x4x4", "axb", "4.5x4"])
def test_no_size(text: str) -> None:
    with pytest.raises(click.BadParameter, match="HEIGHTxWIDTH"):
        to_size(CONTEXT, OPTION, text)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("32x32x3", (32, 32, 3)),
        ("32,32,3", (32, 32, 3)),
        ("(32, 32, 3)", (32, 32, 3)),
        ("(4,)", (4,)),
        ("4", (4,)),
        ("()", ()),
        ("", ()),
        ("*x*x3", (None, None, 3)),
    ],
)
def test_shape(text: str, shape: tuple[int | None, ...]) -> None:
    assert to_shape(CONTEXT, OPTION, text) == shape


@pytest.mark.parametrize("text", ["axb", "-1", "3x", "x3", "3.5", "**"])
def test_no_shape(text: str) -> None:
    with pytest.raises(click.BadParameter, match="32x32x3"):
        to_shape(CONTEXT, OPTION, text)


def test_pairs() -> None:
    assert to_pairs(CONTEXT, OPTION, ("a=1", "b=", "c=d=e")) == {"a": "1", "b": "", "c": "d=e"}
    for texts in [("a",), ("=1",), ("a=1", "a=1")]:
        with pytest.raises(click.BadParameter):
            to_pairs(CONTEXT, OPTION, texts)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05+01:00", "2026-01-02T02:04:05+00:00"),
        ("today", "2026-01-31T00:00:00+00:00"),
        ("Yesterday", "2026-01-30T00:00:00+00:00"),
        ("2 weeks ago", "2026-01-17T12:30:00+00:00"),
        ("1 day", "2026-01-30T12:30:00+00:00"),
        ("90 minutes", "2026-01-31T11:00:00+00:00"),
        ("3.hours.ago", "2026-01-31T09:30:00+00:00"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    found = to_moment(CONTEXT, OPTION, text)
    assert found is not None
    assert found(NOW) == dt.datetime.fromisoformat(moment)


def test_a_moment_without_a_zone_is_local() -> None:
    found = to_moment(CONTEXT, OPTION, "2026-01-02")
    assert found is not None
    assert found(NOW) == dt.datetime(2026, 1, 2).astimezone()


@pytest.mark.parametrize("text", ["", "soon", "2 fortnights", "-1 days", "2026-13-01"])
def test_no_moment(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time"):
        to_moment(CONTEXT, OPTION, text)


def test_nothing_given() -> None:
    turn: Any
    for turn in (to_size, to_shape, to_moment):
        assert turn(CONTEXT, OPTION, None) is None


@pytest.mark.parametrize(
    ("text", "columns", "key"),
    [
        ("cat", [{5}], "cat"),
        ("5", [{5, "5"}], 5),
        ("5", [{"5"}], "5"),
        ("5", [{"5"}, {5}], 5),
        ("5", [{"a"}], 5),
        ("5", [], 5),
        ("-5", [{-5}], -5),
        ("9223372036854775808", [set()], "9223372036854775808"),
        ("5.0", [{5}], "5.0"),
    ],
)
def test_keys(text: str, columns: list[set[int | str]], key: int | str) -> None:
    assert typed_key(text, columns) == key


class NestedStub(dict[Any, Any]):
    """Samples with their subsamples, as a nested column has them; a flat one has none."""

    def __init__(self, *, nested: bool, **samples: set[Any]) -> None:
        super().__init__(samples)
        self.schema = Schema("str", nested=nested)


@pytest.mark.parametrize(
    ("text", "column", "key"),
    [
        ("s", NestedStub(nested=True, s={1}), "s"),
        ("s[1]", NestedStub(nested=True, s={1}), ("s", 1)),
        ("s[1]", NestedStub(nested=True, s={"1"}), ("s", "1")),
        ("s[9]", NestedStub(nested=True, s={1}), ("s", 9)),
        ("s[x][y]", NestedStub(nested=True, **{"s[x]": {"y"}}), ("s[x]", "y")),
        ("s[1]", NestedStub(nested=True, **{"s[1]": {1}}), "s[1]"),
        ("t[1]", NestedStub(nested=True, s={1}), ("t", 1)),
        ("4[x]", NestedStub(nested=True), (4, "x")),
        ("s[1]", NestedStub(nested=False, s=set()), "s[1]"),
        ("s[]", NestedStub(nested=True), "s[]"),
        ("s[1]", None, ("s", 1)),
        ("5", None, 5),
    ],
)
def test_samples_and_subsamples(text: str, column: Any, key: Any) -> None:
    assert typed_sample(text, column) == key
