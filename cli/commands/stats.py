"""``tvcs stats``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tensorvcs.display.counting import count_text

from ..arguments import prints
from ..text import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..context import Caller
    from ..output import Output


@click.command("stats")
@prints
def command(caller: Caller, out: Output) -> None:
    """Show counts and sizes.

    Sizes are in powers of a thousand, and exact with --json. What is garbage is told by
    'tvcs gc --dry-run'.

    \b
    Examples:
      tvcs stats
      tvcs stats --json
    """
    with caller.repository() as repo:
        statistics = repo.stats()
        document = {**asdict(statistics), "total_nbytes": statistics.total_nbytes}
        out.show(document, _lines(out, statistics))


def _lines(out: Output, statistics: Any) -> Iterator[str]:
    packs = statistics.packs
    yield from out.table(
        [
            ("branch", statistics.branch),
            ("commits", f"{statistics.commit_count:,}"),
            ("branches", f"{statistics.branch_count:,}"),
            ("tags", f"{statistics.tag_count:,}"),
            ("packs", _packs_text(packs)),
            ("loose", f"{count_text(packs.loose_count, 'value')}, {size_text(packs.loose_nbytes)}"),
            ("index", _index_text(statistics)),
            ("total", size_text(statistics.total_nbytes)),
        ]
    )
    if statistics.columns:
        yield ""
        yield from out.table(
            (name, column.schema, _samples_text(column))
            for name, column in statistics.columns.items()
        )


def _packs_text(packs: Any) -> str:
    text = (
        f"{packs.pack_count:,} with {count_text(packs.value_count - packs.loose_count, 'value')}, "
        f"{size_text(packs.file_nbytes)} for {size_text(packs.payload_nbytes)}"
    )
    small = packs.small_pack_count
    return text if small < 2 else f"{text}; {small:,} are small, 'tvcs repack' joins them"


def _index_text(statistics: Any) -> str:
    free = statistics.lmdb_free_nbytes
    text = size_text(statistics.lmdb_nbytes)
    return text if free * 4 < statistics.lmdb_nbytes else f"{text}, {size_text(free)} of it free"


def _samples_text(column: Any) -> str:
    text = count_text(column.sample_count, "sample")
    present, versions = column.present_count, column.version_count
    if present is None:
        return text
    here = f"{text}, {present:,} of them here"
    if versions == column.present_version_count:
        return here
    return f"{here}; keys of {column.present_version_count:,} of {versions:,} versions"
