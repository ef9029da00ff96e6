"""``tvcs op``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..arguments import prints
from ..text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..context import Caller
    from ..output import Output


@click.group("op", no_args_is_help=False)
def command() -> None:
    """Look at the operation log.

    It records every change of a branch, a tag or of what is staged, so that 'tvcs undo' can take
    it back.

    \b
    Examples:
      tvcs op log
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
        out.show(document, _lines(out, operations))


def operation_document(operation: Any) -> dict[str, Any]:
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


def _lines(out: Output, operations: Sequence[Any]) -> Iterator[str]:
    undone: set[int] = set()
    width = max((len(str(operation.number)) for operation in operations), default=0)
    for operation in operations:
        undone.update(operation.undoes)
        mark = " (undone)" if operation.number in undone else ""
        number = out.style(f"{operation.number:{width}}", "yellow")
        text = f"{operation.command}: {printable(operation.description)}{mark}"
        yield f"{number}  {operation.time:%Y-%m-%d %H:%M:%S}  {text}"
