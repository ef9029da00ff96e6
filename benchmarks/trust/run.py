"""The command line of the trust experiments: ``python -m benchmarks.trust``."""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import disk_folder
from benchmarks.trust import tiny
from benchmarks.trust.experiments import EXPERIMENTS, Trial
from benchmarks.trust.probe import Probe
from benchmarks.trust.tally import Tally, markdown_table, text_table

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiments, print the table, and return 1 when anything counts against the store."""
    options = _parser().parse_args(arguments)
    names = [
        name
        for name in EXPERIMENTS
        if not options.only or any(fnmatch.fnmatch(name, pattern) for pattern in options.only)
    ]
    if not names:
        print(f"Error: no experiment matches {' '.join(options.only)}", file=sys.stderr)
        print(f"Hint: there are {', '.join(EXPERIMENTS)}", file=sys.stderr)
        return 2
    tallies: list[Tally] = []
    start = time.perf_counter()
    with disk_folder(options.folder) as folder, Probe() as probe:
        run_count = options.runs if options.runs is not None else 20 if options.quick else 200
        trial = Trial(folder, tiny.build(folder / "tiny"), probe, run_count, options.seed)
        for name in names:
            for tally in EXPERIMENTS[name](trial):
                tallies.append(tally)
                print("  ".join(tally.cells()), file=sys.stderr, flush=True)
                for example in tally.examples:
                    print(f"    {example}", file=sys.stderr, flush=True)
    print(f"seed {options.seed}, {time.perf_counter() - start:.0f} s in all\n")
    print(markdown_table(tallies) if options.markdown else text_table(tallies))
    faults = sum(tally.faults for tally in tallies)
    print(f"\n{faults} of {sum(tally.runs for tally in tallies):,} runs count against the store")
    if options.json is not None:
        options.json.write_text(json.dumps([tally.to_json() for tally in tallies], indent=1) + "\n")
    return int(bool(faults))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.trust", description=__doc__)
    parser.add_argument("--runs", type=int, help="runs of each row, about; 200 unless given")
    parser.add_argument("--quick", action="store_true", help="20 runs of each row, about")
    parser.add_argument("--seed", type=int, default=0, help="the same seed harms the same bytes")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", default=[], help=f"of {', '.join(EXPERIMENTS)}"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to work, on a real disk")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts there")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser
