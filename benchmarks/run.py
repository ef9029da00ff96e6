"""The command line of the benchmarks: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import datetime as dt
import fnmatch
import json
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from benchmarks import (
    buckets,
    depths,
    histories,
    importing,
    ingest,
    locations,
    nested,
    reading,
    training,
    transfers,
    verified_reads,
    versions,
)
from benchmarks.measuring import core_count, disk_folder, processor_name
from benchmarks.peers import find_hangar
from benchmarks.row import Row, markdown_table, text_table
from benchmarks.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SUBJECTS: Mapping[str, Callable[[Setting], Iterator[Row]]] = {
    "reading-32px": reading.reading_32px,
    "reading-224px": reading.reading_224px,
    "verified-reads": verified_reads.verified_reads,
    "loader": reading.loader,
    "training": training.training,
    "labels": reading.inline_labels,
    "nested-samples": nested.nested_samples,
    "ingest-32px": ingest.ingest_32px,
    "ingest-224px": ingest.ingest_224px,
    "memory": ingest.memory,
    "import": importing.import_images,
    "commits": versions.commits,
    "diffs": versions.diffs,
    "opening": versions.opening,
    "merges": versions.merges,
    "histories": histories.histories,
    "locations": locations.location_table,
    "commits-in-a-row": versions.commits_in_a_row,
    "clones": transfers.clones,
    "parts-of-clones": transfers.parts,
    "fetches": transfers.fetches,
    "depths": depths.depths,
    "buckets": buckets.buckets,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return 1 when a bar is missed and ``--strict`` is given."""
    options = _parser().parse_args(arguments)
    names = [
        name
        for name in SUBJECTS
        if not options.only or any(fnmatch.fnmatch(name, pattern) for pattern in options.only)
    ]
    if not names:
        print(f"Error: no subject matches {' '.join(options.only)}", file=sys.stderr)
        print(f"Hint: there are {', '.join(SUBJECTS)}", file=sys.stderr)
        return 2
    rows = []
    start = time.perf_counter()
    with disk_folder(options.folder) as folder:
        hangar = None if options.quick and not options.hangar else find_hangar()
        setting = Setting(folder, options.quick, options.images, hangar)
        for name in names:
            subject_start = time.perf_counter()
            for row in SUBJECTS[name](setting):
                rows.append(row)
                print("  ".join(filter(None, row.cells())), file=sys.stderr, flush=True)
            seconds = time.perf_counter() - subject_start
            print(f"[{name}: {seconds:.1f} s]", file=sys.stderr, flush=True)
    heading = f"{describe_machine()}; {time.perf_counter() - start:.0f} s in all"
    print(heading + "\n")
    print(markdown_table(rows) if options.markdown else text_table(rows))
    missed = sum(row.is_met is False for row in rows)
    held = sum(row.is_met is not None for row in rows)
    print(f"\n{held - missed} of {held} bars met")
    if options.json is not None:
        found = {"machine": heading, "rows": [row.to_json() for row in rows]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(bool(missed) and options.strict)


def describe_machine() -> str:
    """Return the date, the machine and the versions that decide speed."""
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    versions_used = f"Python {platform.python_version()}, numpy {np.__version__}"
    return (
        f"{today}, {core_count()} cores of {processor_name()}, {versions_used}, "
        f"h5py {h5py.__version__} with HDF5 {h5py.version.hdf5_version}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", default=[], help=f"of {', '.join(SUBJECTS)}"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="a folder of JPEG files")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to work, on a real disk")
    parser.add_argument("--hangar", action="store_true", help="measure Hangar in a quick run too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a bar is missed")
    return parser
