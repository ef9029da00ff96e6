"""``tvcs op``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..arguments import prints
from ..text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorvcs import Operation, RefMove, RefTarget

    from ..context import Caller
    from ..documents import Document
    from ..output import Output


@click.group("op", no_args_is_help=False)
def command() -> None:
    """Look at the operation log, and go back to a point in it.

    It records every change of a branch, a tag, a stash or of what is staged, so that 'tvcs undo'
    can take it back. OP is the number of an operation.

    \b
    Examples:
      tvcs op log
      tvcs op show 3
      tvcs op restore 3
      tvcs --at-op 3 status
    """


@command.command("log")
@click.option("-n", "--limit", type=click.IntRange(min=0), metavar="N", help="At most N of them.")
@prints
def log(caller: Caller, out: Output, limit: int | None) -> None:
    """List operations, newest first.

    Those that were taken back are marked "undone".

    \b
    Examples:
      tvcs op log
      tvcs op log -n 5 --json
    """
    with caller.repository() as repo:
        operations = repo.operations(limit)
        document = [operation_document(operation) for operation in operations]
        out.show(document, _log_lines(out, operations))


@command.command("show")
@click.argument("number", metavar="OP", type=click.IntRange(min=1))
@prints
def show(caller: Caller, out: Output, number: int) -> None:
    """Show one operation: each ref before and after.

    \b
    Examples:
      tvcs op show 3
      tvcs op show 3 --json
    """
    with caller.repository() as repo:
        operation = repo.operation(number)
        moves = repo.moves_of(operation)
        document = {
            **operation_document(operation),
            "changes": [
                {
                    "ref": move.ref,
                    "before": _target_document(move.before),
                    "after": _target_document(move.after),
                }
                for move in moves
            ],
        }
        out.show(document, _show_lines(out, operation, moves))


@command.command("restore")
@click.argument("number", metavar="OP", type=click.IntRange(min=1))
@prints
def restore(caller: Caller, out: Output, number: int) -> None:
    """Make everything as it was right after an operation.

    All branches, tags, stashes and what is staged are set back, or forth: an operation that was
    undone is done again by its number. 'tvcs undo' takes this back.

    \b
    Examples:
      tvcs op restore 3
    """
    with caller.repository() as repo:
        newest = repo.operations(1)
        operation = repo.restore_operation(number)
        has_changed = repo.operations(1) != newest
        document = {
            "restored": operation_document(operation),
            "has_changed": has_changed,
            "branch": repo.head,
        }
        done = f"operation {number}, {operation.command}: {printable(operation.description)}"
        if has_changed:
            out.show(document, [f"Restored {done}"])
        else:
            out.show(document, [f"All is as it was after {done}"])


def operation_document(operation: Operation) -> Document:
    """Return one operation as a program sees it."""
    return {
        "number": operation.number,
        "command": operation.command,
        "description": operation.description,
        "user": operation.user,
        "time": operation.time.isoformat(),
        "refs": [change.name for change in operation.changes],
        "undoes": list(operation.undoes),
        "continues": operation.continues,
    }


def _target_document(target: RefTarget | None) -> Document | None:
    if target is None:
        return None
    return {"text": target.text, "commit": target.commit.id if target.commit else None}


def _log_lines(out: Output, operations: Sequence[Operation]) -> Iterator[str]:
    undone: set[int] = set()
    width = max((len(str(operation.number)) for operation in operations), default=0)
    for operation in operations:
        undone.update(operation.undoes)
        mark = " (undone)" if operation.number in undone else ""
        number = out.style(f"{operation.number:{width}}", "yellow")
        text = f"{operation.command}: {printable(operation.description)}{mark}"
        yield f"{number}  {operation.time:%Y-%m-%d %H:%M:%S}  {text}"


def _show_lines(out: Output, operation: Operation, moves: Sequence[RefMove]) -> Iterator[str]:
    yield out.style(f"operation {operation.number}", "yellow")
    if operation.user:
        yield f"User:   {printable(operation.user)}"
    time = operation.time
    yield f"Date:   {time:%a %b} {time.day} {time:%H:%M:%S %Y %z}"
    if operation.undoes:
        yield f"Undoes: {', '.join(map(str, operation.undoes))}"
    if operation.continues is not None:
        yield f"Part of: {operation.continues}"
    yield ""
    yield f"    {operation.command}: {printable(operation.description)}"
    for move in moves:
        yield ""
        yield out.style(move.ref, bold=True)
        for sign, target, colour in (("-", move.before, "red"), ("+", move.after, "green")):
            if target is not None:
                yield "  " + out.style(f"{sign} {printable(str(target))}", colour)
