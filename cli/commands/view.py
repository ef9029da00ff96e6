"""``tvcs view``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from tensorvcs.display.counting import count_text
from tensorvcs.errors import ColumnNotFoundError

from ..arguments import KEY_HELP, prints, typed_key
from ..documents import key_document, value_document
from ..samples import kind_text, value_lines
from ..text import SHOWN_KEYS, key_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import Checkout

    from ..context import Caller
    from ..output import Output


@click.command("view", epilog=KEY_HELP)
@click.argument("column", metavar="COLUMN")
@click.argument("key", metavar="KEY")
@click.argument("revision", metavar="[REV]", default="HEAD")
@prints
def command(caller: Caller, out: Output, column: str, key: str, revision: str) -> None:
    """Show one sample.

    REV is HEAD when omitted. A picture is drawn in the terminal, with colours where it has them;
    other arrays are shown by their numbers. In a nested column KEY is SAMPLE[SUBSAMPLE]; SAMPLE
    alone lists its subsamples.

    \b
    Examples:
      tvcs view images cat/1
      tvcs view labels cat/1 main~2
      tvcs view images cat/1 v1 --json
    """
    with caller.repository() as repo, repo.checkout(revision) as checkout:
        column_at = _column(checkout, column)
        place, value = _find(column_at, key)
        document = {
            "commit": checkout.base.id,
            "column": column,
            "key": key_document(place),
        }
        head = out.style(f"{column} {key_text(place)}", bold=True)
        head += f" at {out.style(checkout.base.short_id, 'yellow')}"
        if column_at.is_nested and not isinstance(place, tuple):
            subsamples = {"subsamples": [key_document(sub) for sub in value]}
            out.show({**document, **subsamples}, _subsample_lines(head, value))
        else:
            out.show({**document, "value": value_document(value)}, [head, *value_lines(out, value)])


def _column(checkout: Checkout, name: str) -> Any:
    if name not in checkout.columns:
        known = ", ".join(checkout.columns) or "none"
        raise ColumnNotFoundError(
            f"commit {checkout.base.short_id} has no column {name!r}; there are: {known}"
        )
    return checkout.columns[name]


def _find(column: Any, text: str) -> tuple[Any, Any]:
    """Return the key that is meant and its value, or the subsamples of a sample."""
    key = typed_key(text, [column])
    pair = re.fullmatch(r"(.+)\[(.+)\]", text, re.DOTALL)
    if pair is None or not column.is_nested or key in column:
        return key, column[key]
    sample = typed_key(pair[1], [column])
    subsamples = column[sample]
    subsample = typed_key(pair[2], [subsamples])
    return (sample, subsample), subsamples[subsample]


def _subsample_lines(head: str, subsamples: Any) -> Iterator[str]:
    yield f"{head}: {count_text(len(subsamples), 'subsample')}"
    for place, key in enumerate(subsamples):
        if place == SHOWN_KEYS:
            yield f"… and {len(subsamples) - SHOWN_KEYS:,} more"
            return
        yield f"{key_text(key)}  {kind_text(subsamples[key])}"
