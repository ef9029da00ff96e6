"""``tvcs history``."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from tensorvcs.display.text import value_text
from tensorvcs.errors import ObjectNotFoundError, SampleNotFoundError

from ..arguments import KEY_HELP, prints, typed_key, typed_sample
from ..documents import commit_document, key_document, size_document, value_document
from ..text import printable, summary_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tensorvcs import Change, Commit, Repository, SampleHistory

    from ..context import Caller
    from ..output import Output

_SHOWN_LETTERS = 40
_COLOURS = {"+": "green", "-": "red", "~": "yellow"}


@click.command("history", epilog=KEY_HELP)
@click.argument("column")
@click.argument("key")
@click.argument("revision", metavar="[REV]", default="HEAD")
@click.option("-n", "--limit", type=click.IntRange(min=0), metavar="N", help="At most N changes.")
@prints
def command(
    caller: Caller, out: Output, column: str, key: str, revision: str, limit: int | None
) -> None:
    """Show the life of one sample: the commits that changed it, newest first.

    Changes are marked + added, - deleted, ~ modified, with what the value was and is, or how far it
    moved. KEY may be a sample that was deleted. In a nested column KEY is SAMPLE[SUBSAMPLE]; SAMPLE
    alone is for all its subsamples.

    \b
    Examples:
      tvcs history labels cat/1
      tvcs history images cat/1 v1 -n 3
      tvcs history labels cat/1 --json
    """
    with caller.repository() as repo:
        commit = repo.resolve(revision)
        history = _history(repo, commit, column, key)
        changes = islice(history, limit)
        if out.is_json:
            out.document(
                {
                    "column": column,
                    "key": key_document(history.key),
                    "changes": [_document(change) for change in changes],
                }
            )
        else:
            out.lines(_lines(out, changes))


def _history(repo: Repository, commit: Commit, column: str, text: str) -> SampleHistory:
    """Return the history of the sample that is meant: one that is there, or one that was."""
    with repo.checkout(commit) as checkout:
        named = checkout.columns.get(column)
        meanings = [typed_sample(text, named), text]
    if named is None:
        meanings.append(typed_key(text, []))
    try:
        return repo.history(column, meanings[0], commit)
    except SampleNotFoundError:
        for meaning in dict.fromkeys(meanings[1:]):
            with suppress(SampleNotFoundError):
                return repo.history(column, meaning, commit)
        raise


def _lines(out: Output, changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        commit = change.commit
        parts = [
            out.style(change.sign, _COLOURS[change.sign]),
            out.style(commit.short_id, "yellow"),
            f"{commit.time:%Y-%m-%d}",
            f"{printable(commit.author.name)}:",
            summary_text(commit),
        ]
        what = _what_changed(change)
        yield " ".join(parts) + (f" ({what})" if what else "")


def _what_changed(change: Change) -> str:
    """Return what became of the value in a few words: numbers and texts, or how far it moved."""
    if change.subsamples is not None:
        return str(change.subsamples)
    try:
        sides = [side for side in (change.before, change.after) if side is not None]
        size = change.size
    except ObjectNotFoundError:
        return "the values are not here"
    if all(isinstance(side, str) or np.ndim(side) == 0 for side in sides):
        return " → ".join(printable(value_text(side, _SHOWN_LETTERS)) for side in sides)
    return "" if size is None else str(size)


def _document(change: Change) -> dict[str, Any]:
    counts = change.subsamples
    document: dict[str, Any] = {"sign": change.sign, "commit": commit_document(change.commit)}
    if counts is not None:
        subsamples = {"added": counts.added, "deleted": counts.deleted}
        return document | {"subsamples": {**subsamples, "modified": counts.modified}}
    try:
        before, after = value_document(change.before), value_document(change.after)
        return document | {"before": before, "after": after, "size": size_document(change.size)}
    except ObjectNotFoundError:
        return document | {"before": None, "after": None, "size": None, "is_here": False}
