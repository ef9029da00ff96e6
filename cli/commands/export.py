"""``tvcs export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tensorvcs.display.counting import count_text
from tensorvcs.errors import ColumnNotFoundError
from tensorvcs.formats.exporting import export_from

from ..arguments import KEY_HELP, prints, to_pairs, typed_key

if TYPE_CHECKING:
    from tensorvcs import Checkout

    from ..context import Caller
    from ..output import Output


@click.command("export", epilog=KEY_HELP)
@click.argument("words", metavar="[REV] DEST", nargs=-1, required=True)
@click.option("--column", "-c", "columns", metavar="NAME", multiple=True, help="Only this column.")
@click.option("--key", "-k", "keys", metavar="KEY", multiple=True, help="Only this sample.")
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="How to write: images or png, npy, npz, hdf5, csv, parquet, webdataset, or the format of "
    "a plugin.",
)
@click.option("--label-folders", metavar="COLUMN", help="A folder for each class of this column.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
@click.option(
    "--option",
    "-o",
    "extra",
    metavar="NAME=VALUE",
    multiple=True,
    callback=to_pairs,
    help="An option of the format: for csv delimiter=CHARACTER, empty=text.",
)
@prints
def command(
    caller: Caller,
    out: Output,
    words: tuple[str, ...],
    columns: tuple[str, ...],
    keys: tuple[str, ...],
    format_name: str,
    label_folders: str | None,
    overwrite: bool,
    extra: dict[str, str],
) -> None:
    """Write samples to files.

    REV is HEAD when omitted. DEST is an npy, npz, h5, csv, parquet or tar file, or a folder for
    images or single npy files.

    \b
    Examples:
      tvcs export photos/ --column images
      tvcs export v1 cat.png --column images --key cat/1
      tvcs export main~2 arrays.npz
      tvcs export v1 labels.csv --column labels
      tvcs export photos/ --column images --label-folders labels
    """
    if len(words) > 2:
        raise click.UsageError(f"expected [REV] DEST, not {len(words)} words")
    revision, destination = words if len(words) == 2 else ("HEAD", words[0])
    with caller.repository() as repo, repo.checkout(revision) as checkout:
        chosen = [_key(checkout, columns, key) for key in keys] or None
        with out.progress("Exporting") as progress:
            report = export_from(
                checkout,
                destination,
                columns=list(columns) or None,
                keys=chosen,
                format=format_name,
                label_folders=label_folders,
                overwrite=overwrite,
                progress=progress,
                extra=extra,
            )
        document = {
            "commit": checkout.base.id,
            "format": report.format,
            "sample_counts": dict(report.sample_counts),
            "file_count": report.file_count,
        }
        lines = [
            f"Wrote {count_text(count, 'sample')} of {name}"
            for name, count in report.sample_counts.items()
        ]
        out.show(document, [*lines, f"{count_text(report.file_count, 'file')} at {destination}"])


def _key(checkout: Checkout, columns: tuple[str, ...], key: str) -> int | str:
    for name in columns:
        if name not in checkout.columns:
            raise ColumnNotFoundError(f"there is no column {name!r}")
    return typed_key(key, [checkout.columns[name] for name in columns or checkout.columns])
