"""``tvcs run``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tensorvcs.display.counting import count_text
from tensorvcs.errors import InvalidInputError, StorageError

from ..arguments import prints, to_pairs
from ..documents import commit_document, diff_document, key_document, number_document
from ..text import SHOWN_KEYS, printable, stat_lines, summary_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tensorvcs import Run

    from ..context import Caller
    from ..documents import Document
    from ..output import Output


@click.group("run")
def command() -> None:
    """Record what models were trained on, and compare it.

    A run is what TensorLoader.provenance() returns, or any JSON that names a commit, under a name.
    The commits of a run are never dropped by 'tvcs gc'.

    \b
    Examples:
      tvcs run record resnet-1 provenance.json --metric accuracy=0.93
      tvcs run list
      tvcs run diff resnet-1 resnet-2
      tvcs run verify resnet-1
    """


@command.command("record")
@click.argument("name")
@click.argument("file", type=click.Path(), required=False)
@click.option("--commit", "revision", metavar="REV", help="The commit, where FILE names none.")
@click.option(
    "--metric",
    "metrics",
    metavar="NAME=NUMBER",
    multiple=True,
    callback=to_pairs,
    help="How the model did.",
)
@click.option("--overwrite", is_flag=True, help="Replace a run of that name.")
@prints
def record(
    caller: Caller,
    out: Output,
    name: str,
    file: str | None,
    revision: str | None,
    metrics: dict[str, str],
    overwrite: bool,
) -> None:
    """Keep a run under a name.

    FILE is JSON: what TensorLoader.provenance() returned, what 'tvcs run show --json' printed, or
    anything else with a commit. Without FILE the run is the commit alone.

    \b
    Examples:
      tvcs run record resnet-1 provenance.json --metric accuracy=0.93
      tvcs run record by-hand --commit v1 --metric loss=0.2
    """
    provenance, measured = ({}, {}) if file is None else _read(file)
    measured |= {name: _number(name, text) for name, text in metrics.items()}
    with caller.repository() as repo:
        if revision is not None:
            provenance["commit"] = repo.resolve(revision).id
        run = repo.record_run(name, provenance, metrics=measured, overwrite=overwrite)
        out.show(_document(run), [f"Recorded run {name}", *_lines(out, run)])


@command.command("list")
@prints
def list_(caller: Caller, out: Output) -> None:
    """List the runs by name.

    \b
    Examples:
      tvcs run list
      tvcs run list --json
    """
    with caller.repository() as repo:
        runs = list(repo.runs.values())
        width = max((len(run.name) for run in runs), default=0)
        lines = [
            f"{run.name:{width}}  {run.time:%Y-%m-%d %H:%M}  "
            + ", ".join(out.style(commit.short_id, "yellow") for commit in run.commits)
            + "".join(f"  {name}={value:g}" for name, value in run.metrics.items())
            for run in runs
        ]
        out.show([_document(run) for run in runs], lines)


@command.command("show")
@click.argument("name")
@prints
def show(caller: Caller, out: Output, name: str) -> None:
    """Show one run; with --json all that was recorded.

    \b
    Examples:
      tvcs run show resnet-1
      tvcs run show resnet-1 --json
    """
    with caller.repository() as repo:
        run = repo.find_run(name)
        out.show(_document(run), _lines(out, run))


@command.command("delete")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@prints
def delete(caller: Caller, out: Output, names: Sequence[str]) -> None:
    """Forget runs; 'tvcs undo' brings them back.

    \b
    Examples:
      tvcs run delete resnet-1
    """
    with caller.repository() as repo:
        runs = [repo.delete_run(name) for name in names]
        document = {"deleted": [_document(run) for run in runs]}
        out.show(document, [f"Deleted run {run.name}" for run in runs])


@command.command("diff")
@click.argument("a")
@click.argument("b")
@prints
def diff(caller: Caller, out: Output, a: str, b: str) -> None:
    """Show which samples run A saw that run B did not, and what changed between their commits.

    \b
    Examples:
      tvcs run diff resnet-1 resnet-2
      tvcs run diff resnet-1 resnet-2 --json
    """
    with caller.repository() as repo:
        runs = repo.find_run(a), repo.find_run(b)
        from tensorvcs.torch.replaying import diff_runs

        found = diff_runs(repo, *runs)
        samples: Document | None = None
        lines = []
        if found.only_a is None or found.only_b is None or found.both is None:
            lines.append("Which samples were seen is not in both records.")
        else:
            modified = found.modified or {}
            samples = {
                "only_a": [key_document(key) for key in found.only_a],
                "only_b": [key_document(key) for key in found.only_b],
                "both": len(found.both),
                "modified": {
                    name: [key_document(key) for key in keys] for name, keys in modified.items()
                },
            }
            for name, keys in ((a, found.only_a), (b, found.only_b)):
                lines.append(f"Only {name} saw {count_text(len(keys), 'sample')}{_some(keys)}")
            lines.append(f"Both saw {count_text(len(found.both), 'sample')}")
            lines += [
                f"  of them {count_text(len(keys), 'sample')} with other {name}{_some(keys)}"
                for name, keys in modified.items()
            ]
        document: Document = {"a": a, "b": b, "samples": samples}
        if found.diff is None:
            lines.append("What changed is not told, for a run read several commits.")
            document["commits"] = [[commit.id for commit in run.commits] for run in runs]
        else:
            commits = [run.commits[0] for run in runs]
            document["commits"] = [commit.id for commit in commits]
            document |= diff_document(found.diff, has_keys=False)
            stats = list(stat_lines(out, found.diff))
            if stats:
                lines.append(f"From {commits[0].short_id} to {commits[1].short_id}:")
                lines += stats
            else:
                lines.append("Nothing differs between their commits.")
        out.show(document, lines)


@command.command("verify")
@click.argument("name")
@prints
def verify(caller: Caller, out: Output, name: str) -> None:
    """Work out again what a run read, and compare it with what was recorded.

    The order of samples follows from commit, seed and epoch; its digest is compared with that in
    the record. The exit code is 1 when it differs, or cannot be worked out from the record alone:
    then verify_run of tensorvcs.torch does it with the loader.

    \b
    Examples:
      tvcs run verify resnet-1
    """
    with caller.repository() as repo:
        run = repo.find_run(name)
        from tensorvcs.torch.replaying import verify_run

        check = verify_run(repo, run)
        document = {
            "name": name,
            "is_same": check.is_same,
            "is_data_same": check.is_data_same,
            "is_order_same": check.is_order_same,
            "samples_seen": check.samples_seen,
            "order_digest": check.order_digest,
            "note": check.note,
        }
        words = {True: "as recorded", False: "another", None: "not known"}
        seen = count_text(check.samples_seen, "sample")
        data = words[True if check.is_data_same else None]
        lines = [f"data: {data}", f"order: {words[check.is_order_same]}, {seen} seen"]
        if check.is_same and check.note:
            lines.append(check.note)
        out.show(document, lines)
        if not check.is_same:
            raise InvalidInputError(
                f"run {name!r} cannot be repeated from its record: {check.note}"
            )


def _read(file: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return provenance and metrics of a JSON file; of what ``show --json`` printed, both."""
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{file} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidInputError(f"{file} is JSON, and not an object with names")
    if isinstance(content.get("provenance"), dict) and isinstance(content.get("metrics"), dict):
        # A number that JSON does not have is printed as a text.
        metrics = {name: _number(name, str(value)) for name, value in content["metrics"].items()}
        return content["provenance"], metrics
    return content, {}


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidInputError(f"metric {name!r} is no number: {text!r}") from error


def _document(run: Run) -> Document:
    return {
        "name": run.name,
        "time": run.time.isoformat(),
        "user": run.user,
        "commits": [commit_document(commit) for commit in run.commits],
        "metrics": {name: number_document(value) for name, value in run.metrics.items()},
        "provenance": dict(run.provenance),
    }


def _lines(out: Output, run: Run) -> Iterator[str]:
    yield f"{run.time:%Y-%m-%d %H:%M} by {printable(run.user)}"
    for commit in run.commits:
        yield f"{out.style(commit.short_id, 'yellow')} {summary_text(commit)}"
    columns = run.provenance.get("columns")
    if isinstance(columns, list):
        yield f"columns: {printable(', '.join(map(str, columns)))}"
    yield from _chosen_lines(run.provenance)
    for name in ("transforms", "seed", "epoch", "samples_seen"):
        if name in run.provenance:
            yield f"{name}: {printable(json.dumps(run.provenance[name], ensure_ascii=False))}"
    for name, value in run.metrics.items():
        yield f"{printable(name)} = {value:g}"


def _chosen_lines(provenance: Mapping[str, Any]) -> Iterator[str]:
    """Yield which samples a loader read, as far as it was not all of the columns."""
    parts = provenance.get("parts")
    if isinstance(parts, dict) and isinstance(provenance.get("weights"), dict):
        for name, part in parts.items():
            chosen = _chosen_text(part) or "all samples"
            weight = provenance["weights"].get(name)
            yield printable(f"part {name}, weight {weight}: {chosen}")
    elif chosen := _chosen_text(provenance):
        yield printable(f"samples: {chosen}")


def _chosen_text(record: Any) -> str:
    chosen = record.get("chosen") if isinstance(record, dict) else None
    if not isinstance(chosen, dict) or not isinstance(chosen.get("count"), int):
        return ""
    text = f"{count_text(chosen['count'], 'sample')} chosen"
    splits = chosen.get("splits")
    if isinstance(splits, list):
        names = [str(split.get("part")) for split in splits if isinstance(split, dict)]
        return f"{text} by split: {', '.join(names)}"
    return text if {"mask", "steps"} & set(chosen) else f"{text}; too many to be listed"


def _some(keys: Sequence[Any]) -> str:
    shown = ", ".join(printable(str(key)) for key in keys[:SHOWN_KEYS])
    more = ", …" if len(keys) > SHOWN_KEYS else ""
    return f": {shown}{more}" if keys else ""
