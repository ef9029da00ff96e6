"""``tvcs conflicts``."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from tensorvcs.display.counting import count_text
from tensorvcs.errors import ColumnNotFoundError

from ..arguments import prints
from ..conflicts import open_conflict_document, open_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorvcs import Conflict, MergeInProgress

    from ..context import Caller
    from ..output import Output


@click.command("conflicts")
@click.option("--column", "-c", metavar="NAME", help="Only this column.")
@click.option("-n", "--limit", type=click.IntRange(min=0), metavar="N", help="At most N conflicts.")
@prints
def command(caller: Caller, out: Output, column: str | None, limit: int | None) -> None:
    """List the conflicts of a merge in progress.

    Those that nobody has decided yet, also of a cherry-pick or revert. A small value is shown as
    it is, of a large one how far each side is from the base.

    \b
    Examples:
      tvcs conflicts
      tvcs conflicts --column labels -n 20
      tvcs conflicts --json
    """
    with caller.repository() as repo:
        merge = repo.merge_in_progress
        if merge is None:
            document: dict[str, Any] = {"verb": None, "theirs": None, "open": 0, "conflicts": []}
            out.show(document, ["No merge, cherry-pick or revert is in progress"])
            return
        every: Sequence[Conflict] = merge.conflicts
        chosen = (c for c in every if column in (None, c.column))
        shown = islice(chosen, limit)
        if column is not None and all(c.column != column for c in every):
            known = ", ".join(dict.fromkeys(c.column for c in every)) or "none"
            raise ColumnNotFoundError(f"no open conflict in column {column!r}; there are: {known}")
        if out.is_json:
            out.document(
                {
                    "verb": merge.verb,
                    "theirs": merge.theirs.id,
                    "open": len(every),
                    "conflicts": [open_conflict_document(merge, c) for c in shown],
                }
            )
        else:
            out.lines(_lines(out, merge, shown, len(every)))


def _lines(
    out: Output, merge: MergeInProgress, shown: Iterator[Conflict], count: int
) -> Iterator[str]:
    what = f"the {merge.verb} of {merge.theirs.short_id}"
    if not count:
        yield f"All conflicts of {what} are decided; record it with 'tvcs merge --continue'"
        return
    yield f"{count_text(count, 'conflict')} of {what} to decide"
    yield from open_lines(out, merge, shown)
