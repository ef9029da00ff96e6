"""``tvcs resolve``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from tensorvcs.display.counting import count_text

from ..arguments import prints, typed_sample
from ..merging import waiting_merge
from ..text import key_text
from ..value_files import value_of_file, value_of_text

if TYPE_CHECKING:
    from tensorvcs import MergeInProgress

    from ..context import Caller
    from ..output import Output

_GLOB = re.compile(r"[*?\[]|^-?\d*:-?\d*$")
_PAIR = re.compile(r".+\[.+\]", re.DOTALL)


@click.command("resolve")
@click.argument("column", required=False)
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@click.option("--ours", is_flag=True, help="Keep what the branch has.")
@click.option("--theirs", is_flag=True, help="Take what the other side has.")
@click.option("--delete", is_flag=True, help="Delete the samples, or the column.")
@click.option(
    "--value",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Take the value in a .npy file, an image, or a file of text or bytes.",
)
@click.option("--value-text", "text", metavar="TEXT", help="Take a typed value, such as 3.")
@click.option(
    "--all", "is_all", is_flag=True, help="Every open conflict, of COLUMN if one is named."
)
@prints
def command(
    caller: Caller,
    out: Output,
    column: str | None,
    keys: tuple[str, ...],
    ours: bool,
    theirs: bool,
    delete: bool,
    file: Path | None,
    text: str | None,
    is_all: bool,
) -> None:
    """Decide conflicts of a merge in progress.

    KEY may be a pattern such as 'cat/*' or 0:100, for the samples that are open; a plain KEY may
    also be one that was decided before. In a nested column KEY is a sample with all its
    subsamples, or SAMPLE[SUBSAMPLE]. Without a KEY, COLUMN is one that is in conflict as a whole.

    \b
    Examples:
      tvcs resolve labels cat/1 --theirs
      tvcs resolve labels 'cat/*' --ours
      tvcs resolve labels cat/1 --value-text 3
      tvcs resolve labels --all --theirs
      tvcs resolve --all --ours
    """
    if sum((ours, theirs, delete, file is not None, text is not None)) != 1:
        raise click.UsageError("give one of --ours, --theirs, --delete, --value and --value-text")
    if column is None and not is_all:
        raise click.UsageError("name a COLUMN, or give --all")
    if keys and is_all:
        raise click.UsageError("KEY and --all exclude each other")
    side = _side(ours=ours, theirs=theirs, delete=delete)
    with caller.repository() as repo:
        merge = waiting_merge(repo)
        before = merge.open_count
        value = None
        if side is None:
            if column is None:
                raise click.UsageError("a value is for one COLUMN; name it")
            schema = merge.schema(column)
            value = (
                value_of_text(text, schema)
                if text is not None
                else value_of_file(cast("Path", file), schema)
            )
        if is_all:
            left = merge.resolve_all(side, value=value, column=column)
        else:
            left = _decide(merge, cast("str", column), keys, side, value)
        lines = [f"Decided {count_text(before - left, 'conflict')}"]
        if before == left:
            lines = [
                "No open conflict was decided, but others anew" if keys else "Nothing was open"
            ]
        lines.append(
            f"{count_text(left, 'conflict')} left: 'tvcs conflicts' lists them"
            if left
            else f"None is left: record the {merge.verb} with 'tvcs merge --continue'"
        )
        out.show({"decided": before - left, "open": left}, lines)


def _side(*, ours: bool, theirs: bool, delete: bool) -> Literal["ours", "theirs", "delete"] | None:
    if delete:
        return "delete"
    return "ours" if ours else "theirs" if theirs else None


def _decide(
    merge: MergeInProgress,
    column: str,
    texts: tuple[str, ...],
    side: Literal["ours", "theirs", "delete"] | None,
    value: Any,
) -> int:
    if not texts:
        return merge.resolve(column, None, side, value=value)
    keys = _typed(merge, column, texts)
    if all(isinstance(key, tuple) for key in keys):
        return merge.resolve(column, keys, side, value=value)
    again = not any(isinstance(key, str) and _GLOB.search(key) for key in keys)
    return merge.resolve_all(side, value=value, column=column, keys=keys, again=again)


def _typed(merge: MergeInProgress, column: str, texts: tuple[str, ...]) -> list[Any]:
    """Return the keys of a command: pairs of a nested column as such."""
    if not merge.schema(column).nested:
        return list(texts)
    # As they are listed; digits in a key may be a number or a text.
    listed = {key_text(c.key): c.key for c in merge.conflicts if c.column == column}
    return [
        (listed[text] if text in listed else typed_sample(text, None))
        if _PAIR.fullmatch(text)
        else text
        for text in texts
    ]
