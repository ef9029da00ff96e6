"""``tvcs undo``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..arguments import prints
from ..text import printable
from .op import operation_document

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.command("undo")
@click.argument("count", metavar="[N]", type=click.IntRange(min=1), default=1)
@prints
def command(caller: Caller, out: Output, count: int) -> None:
    """Take back the last operations.

    An operation is a change of a branch, a tag or of what is staged: a commit, an import, a
    merge, a reset. What was undone before is passed over, so that undoing twice goes back twice.
    'tvcs op log' lists the operations, and 'tvcs op restore OP' does one again.

    \b
    Examples:
      tvcs undo
      tvcs undo 3
    """
    with caller.repository() as repo:
        undone = repo.undo(count)
        lines = [
            f"Undid {operation.command}: {printable(operation.description)}"
            for operation in undone
            if operation.continues is None
        ]
        document = {
            "operations": [operation_document(operation) for operation in undone],
            "branch": repo.head,
        }
        out.show(document, lines)
