"""``tvcs stash``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tensorvcs.display.counting import count_text

from ..arguments import KEY_PATTERN_HELP, prints
from ..documents import diff_document
from ..text import SHOWN_KEYS, diff_lines, printable, stat_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorvcs import Repository, Stash

    from ..context import Caller
    from ..documents import Document
    from ..output import Output


class PushByDefault(click.Group):
    """A group whose command ``push`` is meant where none is named, as in git."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_help = args and args[0] in ctx.help_option_names
        if not args or (args[0].startswith("-") and not is_help):
            args = ["push", *args]
        return super().parse_args(ctx, args)


@click.group("stash", cls=PushByDefault)
def command() -> None:
    """Put staged changes aside, and take them up again.

    Without a command it is 'tvcs stash push'. N is the place of a stash in 'tvcs stash list', 0
    for the newest. 'tvcs undo' takes each of these back.

    \b
    Examples:
      tvcs stash
      tvcs stash push -m "Half of the masks" --column masks
      tvcs stash list
      tvcs stash pop
    """


@command.command("push", epilog=KEY_PATTERN_HELP)
@click.option("-m", "--message", metavar="TEXT", help="What the changes are.")
@click.option(
    "--column", "-c", "columns", metavar="NAME", multiple=True, help="Only changes of this column."
)
@click.option(
    "--key",
    "-k",
    "keys",
    metavar="PATTERN",
    multiple=True,
    help="Only samples whose key fits, such as 'cat/*', 17 or 0:100.",
)
@prints
def push(
    caller: Caller,
    out: Output,
    message: str | None,
    columns: tuple[str, ...],
    keys: tuple[str, ...],
) -> None:
    """Put staged changes aside; what is not asked for stays staged.

    \b
    Examples:
      tvcs stash push
      tvcs stash push -m "Half of the masks"
      tvcs stash push --column labels --key 'cat/*'
    """
    with caller.repository() as repo:
        stash = repo.stash(message, columns or None, keys or None)
        difference = stash.diff()
        document = {
            **_document(stash),
            **diff_document(difference, has_keys=False),
            "is_dirty": repo.is_dirty,
        }
        text = f"Put aside: {printable(stash.message)}"
        out.show(document, [text, *stat_lines(out, difference)])


@command.command("pop")
@click.argument("place", metavar="[N]", type=click.IntRange(min=0), default=0)
@prints
def pop(caller: Caller, out: Output, place: int) -> None:
    """Stage the changes of a stash, and drop it.

    They are merged by sample with what is here; with conflicts nothing is changed, and the stash
    is kept.

    \b
    Examples:
      tvcs stash pop
      tvcs stash pop 1
    """
    with caller.repository() as repo:
        stash = repo.pop_stash(place)
        _report(repo, out, stash, f"Staged and dropped stash {place}: {printable(stash.message)}")


@command.command("apply")
@click.argument("place", metavar="[N]", type=click.IntRange(min=0), default=0)
@prints
def apply(caller: Caller, out: Output, place: int) -> None:
    """Stage the changes of a stash, and keep it.

    \b
    Examples:
      tvcs stash apply
      tvcs stash apply 1
    """
    with caller.repository() as repo:
        stash = repo.apply_stash(place)
        _report(repo, out, stash, f"Staged stash {place}: {printable(stash.message)}")


@command.command("list")
@prints
def list_all(caller: Caller, out: Output) -> None:
    """List what was put aside, newest first.

    \b
    Examples:
      tvcs stash list
      tvcs stash list --json
    """
    with caller.repository() as repo:
        stashes = repo.stashes
        out.show([_document(stash) for stash in stashes], _list_lines(out, stashes))


@command.command("show")
@click.argument("place", metavar="[N]", type=click.IntRange(min=0), default=0)
@click.option("--keys", "has_keys", is_flag=True, help="List the changed samples.")
@click.option("--all", "has_all", is_flag=True, help="List all of them, however many.")
@prints
def show(caller: Caller, out: Output, place: int, has_keys: bool, has_all: bool) -> None:
    """Show the changes of a stash.

    \b
    Examples:
      tvcs stash show
      tvcs stash show 1 --keys
    """
    with caller.repository() as repo:
        stash = repo.find_stash(place)
        difference = stash.diff()
        has_keys = has_keys or has_all
        document = {**_document(stash), **diff_document(difference, has_keys=has_keys)}
        lines = stat_lines(out, difference)
        if has_keys:
            lines = diff_lines(out, difference, None if has_all else SHOWN_KEYS)
        out.show(document, lines)


@command.command("drop")
@click.argument("place", metavar="[N]", type=click.IntRange(min=0), default=0)
@prints
def drop(caller: Caller, out: Output, place: int) -> None:
    """Forget a stash; 'tvcs undo' brings it back.

    \b
    Examples:
      tvcs stash drop
      tvcs stash drop 1
    """
    with caller.repository() as repo:
        stash = repo.drop_stash(place)
        out.show(
            {"dropped": _document(stash)},
            [f"Dropped stash {place}: {printable(stash.message)}; 'tvcs undo' brings it back"],
        )


def _report(repo: Repository, out: Output, stash: Stash, text: str) -> None:
    staged = repo.staged()
    document = {"stash": _document(stash), **diff_document(staged, has_keys=False)}
    out.show(document, [text, *stat_lines(out, staged)])


def _document(stash: Stash) -> Document:
    return {
        "place": stash.place,
        "id": stash.id,
        "message": stash.message,
        "branch": stash.branch,
        "base": stash.base.id if stash.base else None,
        "time": stash.time.isoformat(),
    }


def _list_lines(out: Output, stashes: Sequence[Stash]) -> Iterator[str]:
    width = len(str(len(stashes) - 1))
    for stash in stashes:
        stat = stash.diff().stat()
        count = stat.added + stat.deleted + stat.modified
        changed = f"{count_text(count, 'change')} in {', '.join(stat.columns)}"
        place = out.style(f"{stash.place:{width}}", "yellow")
        yield f"{place}  {stash.time:%Y-%m-%d %H:%M}  {printable(stash.message)}  ({changed})"
