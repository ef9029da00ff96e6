"""``tvcs gc``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tensorvcs.display.counting import count_text

from ..arguments import prints, to_length
from ..text import size_text
from ..transfers import to_nbytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import GcReport

    from ..context import Caller
    from ..output import Output


@click.command("gc")
@click.option(
    "--grace", metavar="TIME", default="2w", show_default=True, callback=to_length,
    help="Keep garbage, and the operation log, for so long: 2w, 3d, 12h or 0.",
)  # fmt: skip
@click.option("--dry-run", "-n", is_flag=True, help="Only tell what would be dropped.")
@click.option(
    "--keep-bytes", metavar="SIZE", callback=to_nbytes,
    help="In a partial clone: of values that the remote has keep so many here, such as 10GB.",
)  # fmt: skip
@prints
def command(caller: Caller, out: Output, grace: str, dry_run: bool, keep_bytes: int | None) -> None:
    """Drop what no branch, tag or stash reaches any more.

    What was reached within the time of grace is kept, so that 'tvcs undo' brings it back. So is
    what somebody is reading. Others may go on working; when something is being written and does
    not end within ten seconds, nothing is dropped.

    \b
    Examples:
      tvcs gc
      tvcs gc --dry-run --grace 3d
      tvcs gc --grace 0 --json
    """
    with caller.repository() as repo:
        with out.progress("Collecting, packs") as progress:
            report = repo.gc(grace, dry_run, keep_bytes, progress=progress)
        out.show(asdict(report), _lines(report, grace))


def _lines(report: GcReport, grace: str) -> Iterator[str]:
    dropped = (
        f"{count_text(report.object_count, 'object')} and "
        f"{count_text(report.value_count, 'value')} of {size_text(report.value_nbytes)}"
    )
    freed = ""
    if report.freed_nbytes:
        freed = f"; {size_text(report.freed_nbytes)} of the disk are free again"
    yield f"{'Would drop' if report.is_dry_run else 'Dropped'} {dropped}{freed}"
    if report.released_count:
        released = f"{count_text(report.released_count, 'value')} that the remote has"
        yield f"Of those in use {released}, {size_text(report.released_nbytes)}"
    if report.young_object_count or report.young_value_count:
        young = (
            f"{count_text(report.young_object_count, 'object')} and "
            f"{count_text(report.young_value_count, 'value')}"
        )
        yield f"Kept {young} that became garbage less than {grace} ago"
    if report.scattered_value_count:
        yield (
            f"Left {count_text(report.scattered_value_count, 'value')} of "
            f"{size_text(report.scattered_nbytes)} in packs that are mostly in use"
        )
    if report.removed_file_count and not report.is_dry_run:
        yield f"Removed {count_text(report.removed_file_count, 'file')} of writers that died"
    if not report.is_complete:
        yield "Left some packs for the next time: something is being written"
