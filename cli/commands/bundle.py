"""``tvcs bundle``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import tensorvcs
from tensorvcs import Filter
from tensorvcs.display.counting import count_text
from tensorvcs.errors import RepositoryNotFoundError

from ..arguments import prints
from ..text import printable, size_text
from ..transfers import filter_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import Bundle

    from ..context import Caller
    from ..output import Output


@click.group("bundle")
def command() -> None:
    """Put branches and tags into one file, for machines without a network.

    The file is a remote like any other to clone, fetch and pull, but not to push.

    \b
    Examples:
      tvcs bundle create pets.bundle
      tvcs bundle verify pets.bundle
      tvcs clone pets.bundle pets-of-the-bundle
    """


@command.command("create")
@click.argument("file", type=click.Path())
@click.argument("names", nargs=-1, metavar="[BRANCH | TAG]...")
@click.option(
    "--since",
    metavar="REV",
    multiple=True,
    help="Leave out this commit and its history: the receiver has it. May be given again.",
)
@filter_options
@prints
def create(
    caller: Caller,
    out: Output,
    file: str,
    names: tuple[str, ...],
    since: tuple[str, ...],
    columns: tuple[str, ...],
    keys: tuple[str, ...],
    max_bytes: int | None,
    sample: str,
    seed: int,
) -> None:
    """Write branches and tags, with all that they need, into FILE.

    All branches and tags when none is named. A file that is there is replaced once the new one is
    whole. With --column, --key or --max-bytes the values of a part of the samples are in it.

    \b
    Examples:
      tvcs bundle create pets.bundle
      tvcs bundle create news.bundle main --since v1
      tvcs bundle create a-look.bundle main --columns images --max-bytes 200MB
    """
    chosen = Filter(columns or None, keys or None, max_bytes, sample, seed)
    with caller.repository() as repo, out.transfer("Writing") as progress:
        bundle = repo.create_bundle(file, names, since=since, part=chosen, progress=progress)
    out.show(_document(bundle), [f"Wrote {printable(file)}, {size_text(bundle.nbytes)}"])


@command.command("verify")
@click.argument("file", type=click.Path())
@prints
def verify(caller: Caller, out: Output, file: str) -> None:
    """Read all of FILE, check it, and show what it holds.

    Inside a repository it is also said whether the commits that the bundle needs are there.

    \b
    Examples:
      tvcs bundle verify pets.bundle
    """
    with out.transfer("Reading") as progress:
        bundle = tensorvcs.verify_bundle(file, progress=progress)
    absent = _absent(caller, bundle)
    document = {**_document(bundle), "absent": absent}
    out.show(document, [f"{printable(file)} is whole, {size_text(bundle.nbytes)}", *_lines(bundle)])
    if absent:
        out.note(f"Not here: {count_text(len(absent), 'commit')} that it needs")
        click.get_current_context().exit(1)


def _absent(caller: Caller, bundle: Bundle) -> list[str] | None:
    """Return the prerequisites that the repository lacks; None outside of one."""
    try:
        with caller.repository() as repo:
            return repo.missing_for(bundle)
    except RepositoryNotFoundError:
        return None


def _lines(bundle: Bundle) -> Iterator[str]:
    yield f"{count_text(bundle.object_count, 'object')}, {count_text(bundle.value_count, 'value')}"
    if not bundle.part.is_everything:
        yield f"A part of each version: {_part_text(bundle.part)}"
    for kind, refs in (("branch", bundle.branches), ("tag", bundle.tags)):
        for name, commit in refs.items():
            yield f"{kind} {printable(name)} at {commit[:12]}"
    for commit in bundle.prerequisites:
        yield f"needs {commit[:12]}"


def _part_text(part: Filter) -> str:
    words = []
    if part.columns is not None:
        words.append(f"columns {', '.join(map(printable, part.columns))}")
    if part.keys is not None:
        words.append(f"keys {', '.join(map(printable, part.keys))}")
    if part.max_bytes is not None:
        words.append(f"values up to {size_text(part.max_bytes)}, {printable(part.sample)}")
    return "; ".join(words)


def _document(bundle: Bundle) -> dict[str, Any]:
    part = bundle.part
    return {
        "path": bundle.path,
        "nbytes": bundle.nbytes,
        "branches": dict(bundle.branches),
        "tags": dict(bundle.tags),
        "prerequisites": list(bundle.prerequisites),
        "part": None
        if part.is_everything
        else {
            "columns": part.columns,
            "keys": part.keys,
            "max_bytes": part.max_bytes,
            "sample": part.sample,
            "seed": part.seed,
        },
        "objects": bundle.object_count,
        "values": bundle.value_count,
    }
