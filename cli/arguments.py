"""Words of the command line: options that many commands share, and words turned into values."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from tensorvcs.errors import InvalidInputError
from tensorvcs.objects.moments import parse_moment, seconds_of

from .output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tensorvcs.objects.moments import Moment

    from .context import Caller

P = ParamSpec("P")


def prints(function: Callable[Concatenate[Caller, Output, P], None]) -> Callable[..., None]:
    """Give a command ``--json``, and call its function with the caller and the output."""

    @click.option("--json", "is_json", is_flag=True, help="Print one JSON document.")
    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        caller: Caller = click.get_current_context().obj
        is_json = bool(kwargs.pop("is_json"))
        out = Output(is_json=is_json, has_colour=caller.wants_colour)
        function(caller, out, *args, **kwargs)

    return command


# Callbacks of options: a text that does not fit is wrong usage, with the option's name.


def to_size(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Turn ``HxW`` in pixels into ``(height, width)``."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})[x×,](\d{1,6})", text.strip(), re.IGNORECASE)
    if match is None or not (int(match[1]) and int(match[2])):
        raise click.BadParameter(f"{text!r} is not of the form HEIGHTxWIDTH, such as 224x224")
    return int(match[1]), int(match[2])


def to_shape(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[int | None, ...] | None:
    """Turn ``32x32x3`` into ``(32, 32, 3)``; ``*`` is an axis without a bound."""
    if text is None:
        return None
    plain = text.strip().strip("()").replace(" ", "").rstrip(",")
    extents = re.split(r"[x×,]", plain) if plain else []
    if not all(re.fullmatch(r"\d{1,15}|\*", extent) for extent in extents):
        raise click.BadParameter(f"{text!r} is not of the form 32x32x3, or *x*x3 with --variable")
    return tuple(None if extent == "*" else int(extent) for extent in extents)


def to_pairs(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Turn several ``NAME=VALUE`` into a mapping."""
    pairs = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
        if name in pairs:
            raise click.BadParameter(f"{name!r} is given twice")
        pairs[name] = value
    return pairs


def to_moment(ctx: click.Context, param: click.Parameter, text: str | None) -> Moment | None:
    """Turn a date, a time, or an age such as ``2 weeks ago`` into a function of the time now."""
    if text is None:
        return None
    try:
        return parse_moment(text)
    except InvalidInputError as error:
        raise click.BadParameter(str(error)) from error


def to_length(ctx: click.Context, param: click.Parameter, text: str) -> str:
    """Return a length of time such as ``2w`` as it was typed, once it is known to be one."""
    try:
        seconds_of(text)
    except InvalidInputError as error:
        raise click.BadParameter(str(error)) from error
    return text


KEY_HELP = (
    "A KEY of digits is the number, unless the column has only the text of these digits as a key."
)

KEY_PATTERN_HELP = (
    "A PATTERN is a key, a shell pattern such as 'cat/*' (where * also stands for /), or a range "
    "of numbers such as 0:100, without its end. Of a nested column it is the key of the sample."
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


_SUBSAMPLE = re.compile(r"(?P<sample>.+)\[(?P<subsample>.+)\]", re.DOTALL)


def typed_sample(text: str, column: Any) -> int | str | tuple[int | str, int | str]:
    """Return the key that a person means in one column; `SAMPLE[SUBSAMPLE]` is a pair.

    Parameters
    ----------
    column : Column, NestedColumn or None
        With None, for a column that is gone, what has brackets is a pair and digits are a number.
    """
    key = typed_key(text, [] if column is None else [column])
    pair = _SUBSAMPLE.fullmatch(text)
    if pair is None or (column is not None and (not column.schema.nested or key in column)):
        return key
    sample = typed_key(pair["sample"], [] if column is None else [column])
    subsamples = [column[sample]] if column is not None and sample in column else []
    return sample, typed_key(pair["subsample"], subsamples)
