"""Words of the command line: options that many commands share, and words turned into values."""

from __future__ import annotations

import datetime as dt
import functools
import re
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from .context import Caller
from .output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

P = ParamSpec("P")


def prints(
    function: Callable[Concatenate[Caller, Output, P], None],
) -> Callable[..., None]:
    """Give a command ``--json``, and call its function with the caller and the output."""

    @click.option("--json", "is_json", is_flag=True, help="Print one JSON document.")
    @click.pass_obj
    @functools.wraps(function)
    def command(caller: Caller, *args: P.args, is_json: bool, **kwargs: P.kwargs) -> None:
        out = Output(is_json=is_json, has_colour=caller.wants_colour)
        function(caller, out, *args, **kwargs)

    return command


class SizeType(click.ParamType):
    """``HxW`` in pixels, to ``(height, width)``."""

    name = "HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            height, width = value
            return height, width
        match = re.fullmatch(r"(\d{1,6})[x×,](\d{1,6})", str(value).strip(), re.IGNORECASE)
        if match is None or not (int(match[1]) and int(match[2])):
            self.fail(f"{value!r} is not of the form HEIGHTxWIDTH, such as 224x224", param, ctx)
        return int(match[1]), int(match[2])


class ShapeType(click.ParamType):
    """``32x32x3``, to ``(32, 32, 3)``; ``*`` is an axis without a bound."""

    name = "SHAPE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, ...]:
        if isinstance(value, tuple):
            return value
        text = str(value).strip().strip("()").replace(" ", "")
        if not text:
            return ()
        extents = re.split(r"[x×,]", text.rstrip(","))
        if not all(re.fullmatch(r"\d{1,15}|\*", extent) for extent in extents):
            self.fail(f"{value!r} is not of the form 32x32x3, or *x*x3 with --variable", param, ctx)
        return tuple(None if extent == "*" else int(extent) for extent in extents)


class PairType(click.ParamType):
    """``NAME=VALUE``, to a pair."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            name, text = value
            return name, text
        name, sign, text = str(value).partition("=")
        if not name or not sign:
            self.fail(f"{value!r} is not of the form NAME=VALUE", param, ctx)
        return name, text


_UNITS = {"minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400, "year": 365 * 86400}
_UNITS["month"] = 30 * 86400


class SinceType(click.ParamType):
    """A date, a time, or an age such as ``2 weeks``, to a function of the time now."""

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Callable[[dt.datetime], dt.datetime]:
        if callable(value):
            passed: Callable[[dt.datetime], dt.datetime] = value
            return passed
        text = str(value).strip().lower()
        if text in ("today", "yesterday"):
            days = int(text == "yesterday")
            return lambda now: _midnight(now) - dt.timedelta(days=days)
        age = re.fullmatch(r"(\d{1,6})[ .]?(minute|hour|day|week|month|year)s?([ .]ago)?", text)
        if age is not None:
            seconds = int(age[1]) * _UNITS[age[2]]
            return lambda now: now - dt.timedelta(seconds=seconds)
        try:
            moment = dt.datetime.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(
                f"{value!r} is no time; write 2026-01-31, 2026-01-31T12:00 or '2 weeks ago'",
                param,
                ctx,
            )
        return lambda _: moment if moment.tzinfo is not None else moment.astimezone()


def _midnight(now: dt.datetime) -> dt.datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


KEY_HELP = (
    "A KEY of digits is the number, unless the column has only the text of these digits as a key."
)


def typed_key(text: str, columns: Iterable[Any]) -> int | str:
    """Return the sample key that a person means by `text`.

    Digits are a number, unless no column has the number and one has the text as a key.
    """
    if not re.fullmatch(r"-?\d{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        return text
    listed = list(columns)
    number = int(text)
    is_text = any(text in column for column in listed) and not any(
        number in column for column in listed
    )
    return text if is_text else number


SIZE, SHAPE, PAIR, SINCE = SizeType(), ShapeType(), PairType(), SinceType()
