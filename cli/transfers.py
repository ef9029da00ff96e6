"""What the commands that talk to remotes have in common: options, sizes, reports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from tensorvcs.display.counting import count_text

from .arguments import to_pairs
from .text import printable, size_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorvcs import FetchedRef, PushResult, Transferred


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def to_nbytes(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """Turn ``200MB`` or ``1.5GiB`` into bytes."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?i?)b?", text.strip().lower())
    units = {**_UNITS, **_BINARY_UNITS}
    if match is None or match[2] not in units:
        raise click.BadParameter(f"{text!r} is no size; write 200MB or 1.5GiB")
    return int(float(match[1]) * units[match[2]])


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which part of a repository it takes."""
    for option in (
        click.option(
            "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
            help="Of --sample random and stratified: the same seed takes the same samples.",
        ),
        click.option(
            "--sample", default="first", show_default=True, metavar="HOW",
            help="Which samples come first under --max-bytes: first, random, or "
            "stratified:COLUMN, which keeps the share of every label.",
        ),
        click.option(
            "--max-bytes", metavar="SIZE", callback=to_nbytes,
            help="Values of the newest version up to this size, such as 200MB.",
        ),
        click.option(
            "--key", "-k", "keys", metavar="PATTERN", multiple=True,
            help="Only values of samples whose key fits, such as 'cat/*' or 0:1000.",
        ),
        click.option(
            "--column", "--columns", "-c", "columns", metavar="NAME[,NAME]", multiple=True,
            callback=to_names, help="Only these columns.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def depth_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option that says how many versions a clone takes."""
    return click.option(
        "--depth", metavar="N", type=click.IntRange(min=1),
        help="Only the N newest versions of each branch; of the older ones the commits alone.",
    )(function)  # fmt: skip


def service_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of the service behind a bucket."""
    return click.option(
        "--option", "-o", "options", metavar="KEY=VALUE", multiple=True, callback=to_pairs,
        help="Of the service behind a bucket: endpoint, region, allow_http and so on. Kept in the "
        "settings, which take no secrets: leave those to the environment, or name a file that "
        "holds one, as secret_access_key=file:PATH.",
    )(function)  # fmt: skip


def to_names(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Turn names, some of them joined by commas, into single ones."""
    return tuple(name for text in texts for name in text.split(",") if name)


def moved_document(moved: Transferred) -> dict[str, int]:
    """Return what moved as a program sees it."""
    return {
        "commits": moved.commit_count,
        "objects": moved.object_count,
        "values": moved.value_count,
        "nbytes": moved.nbytes,
    }


def moved_text(moved: Transferred) -> str:
    """Return what moved in a few words."""
    return (
        f"{count_text(moved.commit_count, 'commit')}, {count_text(moved.value_count, 'value')}, "
        f"{size_text(moved.nbytes)}"
    )


def fetched_document(ref: FetchedRef) -> dict[str, Any]:
    """Return a ref that a fetch changed as a program sees it."""
    return {
        "name": ref.name,
        "is_tag": ref.is_tag,
        "movement": ref.movement,
        "before": ref.before,
        "after": ref.after,
    }


def fetched_line(ref: FetchedRef) -> str:
    """Return a line on a ref that a fetch changed."""
    kind = "tag " if ref.is_tag else ""
    before, after = ((side or "")[:12] for side in (ref.before, ref.after))
    name = f"{kind}{printable(ref.name)}"
    if ref.movement == "new":
        return f"new       {name} at {after}"
    if ref.movement == "deleted":
        return f"deleted   {name}, was {before}"
    if ref.movement == "kept":
        return f"kept      {name} at {before}; the remote has another one, at {after}"
    word = "forced   " if ref.movement == "forced" else "forward  "
    return f"{word} {name} from {before} to {after}"


def pushed_document(result: PushResult) -> dict[str, Any]:
    """Return the outcome of a push as a program sees it."""
    return {
        "remote": result.remote,
        "name": result.name,
        "is_tag": result.is_tag,
        "movement": result.movement,
        "before": result.before,
        "after": result.after,
        "moved": moved_document(result.moved),
    }


def pushed_line(result: PushResult) -> str:
    """Return a line on the outcome of a push."""
    name = f"{'tag ' if result.is_tag else ''}{printable(result.name)}"
    before, after = ((side or "")[:12] for side in (result.before, result.after))
    if result.movement == "up to date":
        return f"{name} of {result.remote} has all of it already"
    if result.movement == "deleted":
        return f"Deleted {name} of {result.remote}, was {before}"
    if result.movement == "new":
        return f"Pushed new {name} to {result.remote} at {after}: {moved_text(result.moved)}"
    how = ", forced" if result.movement == "forced" else ""
    return (
        f"Pushed {name} to {result.remote} from {before} to {after}{how}: "
        f"{moved_text(result.moved)}"
    )
