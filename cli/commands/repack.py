"""``tvcs repack``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tensorvcs.display.counting import count_text

from ..arguments import prints
from ..text import size_text

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.command("repack")
@prints
def command(caller: Caller, out: Output) -> None:
    """Gather values into few packs, in the order in which they are read.

    The newest version of each branch decides the order: its samples by key, the current branch
    first. What is in order already is left as it is. Needs room on the disk for the packs that
    are written anew. Others may go on reading and writing.

    \b
    Examples:
      tvcs repack
      tvcs repack --json
    """
    with caller.repository() as repo:
        with out.progress("Repacking, packs") as progress:
            report = repo.repack(progress=progress)
        text = "Everything is in order already"
        if report.moved_count:
            text = (
                f"Moved {count_text(report.moved_count, 'value')} of "
                f"{size_text(report.moved_nbytes)}: {count_text(report.pack_count, 'pack')} now, "
                f"{report.pack_count_before:,} before"
            )
        out.show(asdict(report), [text])
