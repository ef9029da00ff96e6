"""``tvcs fetch-data``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tensorvcs.display.counting import count_text

from ..arguments import prints
from ..text import size_text
from ..transfers import filter_options, moved_document

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.command("fetch-data")
@click.argument("revision", metavar="[REV]", default="HEAD")
@filter_options
@click.option("--remote", metavar="NAME", help="Where from, if not where the clone came from.")
@prints
def command(
    caller: Caller,
    out: Output,
    revision: str,
    columns: tuple[str, ...],
    keys: tuple[str, ...],
    max_bytes: int | None,
    sample: str,
    seed: int,
    remote: str | None,
) -> None:
    """Bring values into a partial clone before they are read.

    REV is HEAD when omitted. What is here already is not moved again.

    \b
    Examples:
      tvcs fetch-data
      tvcs fetch-data main --column images --key '1*'
      tvcs fetch-data --max-bytes 1GB --sample random
    """
    with caller.repository() as repo:
        with out.transfer("Fetching") as progress:
            moved = repo.fetch_data(
                revision,
                columns=list(columns) or None,
                keys=list(keys) or None,
                max_bytes=max_bytes,
                sample=sample,
                seed=seed,
                remote=remote,
                progress=progress,
            )
        text = "All of it is here already"
        if moved.value_count:
            text = f"Fetched {count_text(moved.value_count, 'value')}, {size_text(moved.nbytes)}"
        out.show(moved_document(moved), [text])
