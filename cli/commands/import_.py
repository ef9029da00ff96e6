"""``tvcs import``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import click

from tensorvcs.display.counting import count_text
from tensorvcs.formats.importing import import_into

from ..arguments import prints, to_pairs, to_size
from ..text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..context import Caller
    from ..output import Output

SHOWN_SKIPPED = 20


@click.command("import")
@click.argument("source", type=click.Path())
@click.option("--column", "-c", metavar="NAME", help="The column to fill; 'images' for images.")
@click.option(
    "--label-column", metavar="NAME", help="Keep the class of each image, the name of its folder."
)
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="How to read SOURCE: images, npy, npz, hdf5, csv, parquet, webdataset, or the format of a "
    "plugin.",
)
@click.option(
    "--resize",
    metavar="HxW",
    callback=to_size,
    help="Scale images to this height and width in pixels.",
)
@click.option(
    "--key-from",
    type=click.Choice(["path", "stem", "name", "number"]),
    default="path",
    show_default=True,
    help="The key of a sample: path below SOURCE, the same without extension, name, position.",
)
@click.option(
    "--mode",
    type=click.Choice(["L", "LA", "RGB", "RGBA", "I;16"]),
    help="Convert images to this mode; if omitted, the smallest that holds them all.",
)
@click.option("--strict", is_flag=True, help="Stop at what cannot be read, instead of skipping it.")
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Processes; one a core if omitted."
)
@click.option(
    "--option",
    "-o",
    "extra",
    metavar="NAME=VALUE",
    multiple=True,
    callback=to_pairs,
    help="An option of the format: for csv, parquet key=COLUMN; for csv types=COLUMN:DTYPE,..., "
    "delimiter=CHARACTER, empty=text; for webdataset keys=int.",
)
@prints
def command(
    caller: Caller,
    out: Output,
    source: str,
    column: str | None,
    label_column: str | None,
    format_name: str,
    resize: tuple[int, int] | None,
    key_from: Literal["path", "stem", "name", "number"],
    mode: Literal["L", "LA", "RGB", "RGBA", "I;16"] | None,
    strict: bool,
    workers: int | None,
    extra: dict[str, str],
) -> None:
    """Stage the samples of files or folders.

    SOURCE is a folder of images, with a folder for each class where there are labels, an image,
    an npy or npz file, an HDF5 file, a table in CSV or Parquet, or a WebDataset tar. The rows of a
    table have their keys in a column 'key', or are counted. A sample whose key is there already is
    updated. Nothing is committed yet.

    \b
    Examples:
      tvcs import photos/
      tvcs import photos/ --label-column labels --resize 224x224
      tvcs import embeddings.npy --column embeddings
      tvcs import scans.h5 --strict
      tvcs import people.csv -o key=name -o types=age:int16
    """
    with caller.repository() as repo:
        started = time.monotonic()
        named = ", ".join(name for name in (column, label_column) if name is not None)
        reason = f"import: {source}" + (f" -> {named}" if named else "")
        with repo.edit(reason=reason) as staging, out.progress("Importing") as progress:
            report = import_into(
                staging,
                source,
                format=format_name,
                column=column,
                label_column=label_column,
                resize=resize,
                key_from=key_from,
                mode=mode,
                strict=strict,
                workers=workers,
                progress=progress,
                extra=extra,
            )
        seconds = time.monotonic() - started
        document = {
            "format": report.format,
            "sample_counts": dict(report.sample_counts),
            "created": list(report.created),
            "class_names": list(report.class_names),
            "skipped": [{"path": s.path, "reason": s.reason} for s in report.skipped],
            "notes": list(report.notes),
            "ignored_count": report.ignored_count,
            "is_dirty": repo.is_dirty,
        }
        out.show(document, _lines(out, report, seconds, is_dirty=repo.is_dirty))


def _lines(out: Output, report: Any, seconds: float, *, is_dirty: bool) -> Iterator[str]:
    yield from imported_lines(report)
    if seconds >= 1:
        out.note(
            f"{count_text(report.sample_count, 'sample')} in {seconds:.1f} s, "
            f"{report.sample_count / seconds:,.0f} a second"
        )
    yield ""
    if is_dirty:
        yield "Record them with 'tvcs commit -m MESSAGE'; 'tvcs diff' lists them."
    else:
        yield "All of it is in the current commit already: there is nothing to commit."


def imported_lines(report: Any) -> Iterator[str]:
    """Yield what an import did, what it skipped last."""
    for name, count in report.sample_counts.items():
        new = ", a new column" if name in report.created else ""
        yield f"Staged {count_text(count, 'sample')} in {name}{new}"
    if report.class_names:
        shown = ", ".join(map(printable, report.class_names[:8]))
        more = ", …" if len(report.class_names) > 8 else ""
        yield f"{count_text(len(report.class_names), 'class', 'classes')}: {shown}{more}"
    for note in report.notes:
        yield f"Note: {printable(note)}"
    if report.ignored_count:
        yield f"Passed over {count_text(report.ignored_count, 'file')} of other sorts"
    if report.skipped:
        yield f"Skipped {count_text(len(report.skipped), 'file')} that cannot be read:"
        for skipped in report.skipped[:SHOWN_SKIPPED]:
            yield f"  {printable(skipped.path)}: {printable(skipped.reason)}"
        if len(report.skipped) > SHOWN_SKIPPED:
            yield f"  … and {len(report.skipped) - SHOWN_SKIPPED:,} more; --json lists them"
