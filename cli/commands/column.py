"""``tvcs column``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from ..arguments import prints, to_shape
from ..documents import schema_document
from ..text import count_text

if TYPE_CHECKING:
    from tensorvcs import Repository, Schema

    from ..context import Caller
    from ..output import Output


@click.group("column", no_args_is_help=False)
def command() -> None:
    """List, create, rename and delete columns.

    Changes are staged; 'tvcs commit' records them.

    \b
    Examples:
      tvcs column list
      tvcs column create images --dtype uint8 --shape 32x32x3
      tvcs column rename labels classes
      tvcs column delete masks
    """


@command.command("list")
@click.argument("revision", metavar="[REV]", required=False)
@prints
def list_columns(caller: Caller, out: Output, revision: str | None) -> None:
    """List the columns with their schemas and numbers of samples.

    Those of REV; when omitted, those of what is staged.

    \b
    Examples:
      tvcs column list
      tvcs column list v1 --json
    """
    with caller.repository() as repo:
        found = _staged_columns(repo) if revision is None else _columns_at(repo, revision)
        document = [
            {"name": name, "sample_count": count, "schema": schema_document(schema)}
            for name, (schema, count) in found.items()
        ]
        rows = [
            (name, schema.spelling, count_text(count, "sample"))
            for name, (schema, count) in found.items()
        ]
        out.show(document, out.table(rows))


def _columns_at(repo: Repository, revision: str) -> dict[str, tuple[Schema, int]]:
    with repo.checkout(revision) as checkout:
        return {
            name: (column.schema, _value_count(column)) for name, column in checkout.columns.items()
        }


def _value_count(column: object) -> int:
    return len(column)  # type: ignore[arg-type]


def _staged_columns(repo: Repository) -> dict[str, tuple[Schema, int]]:
    """Return the staged columns without waiting for who edits them: the base and its changes."""
    base = repo.staging_base
    found = {} if base is None else _columns_at(repo, base.id)
    for name, change in repo.staged().columns.items():
        schema = change.schema
        if schema is not None and schema[1] is None:
            del found[name]
            continue
        before, count = found.get(name, (None, 0))
        after = schema[1] if schema is not None else before
        assert after is not None
        found[name] = (after, count + len(change.added) - len(change.deleted))
    return dict(sorted(found.items()))


@command.command("create")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["ndarray", "str", "bytes"]),
    default="ndarray",
    show_default=True,
    help="What a sample is: an array, a text or bytes.",
)
@click.option("--dtype", metavar="DTYPE", help="Of an array, such as uint8 or float32.")
@click.option(
    "--shape",
    metavar="SHAPE",
    callback=to_shape,
    help="Of an array, such as 32x32x3; one number if omitted.",
)
@click.option("--variable", is_flag=True, help="SHAPE is the largest; * is an axis without bound.")
@click.option("--nested", is_flag=True, help="A sample is a mapping of subsamples.")
@click.option(
    "--codec",
    type=click.Choice(["auto", "raw", "blosc"]),
    default="auto",
    show_default=True,
    help="How values are stored; auto compresses where that saves a fifth.",
)
@prints
def create(
    caller: Caller,
    out: Output,
    name: str,
    kind: str,
    dtype: str | None,
    shape: tuple[int | None, ...] | None,
    variable: bool,
    nested: bool,
    codec: Literal["auto", "raw", "blosc"],
) -> None:
    """Stage a new column without samples.

    \b
    Examples:
      tvcs column create images --dtype uint8 --shape 32x32x3
      tvcs column create photos --dtype uint8 --shape '*x*x3' --variable
      tvcs column create labels --dtype int64
      tvcs column create captions --kind str
    """
    if kind == "ndarray" and dtype is None:
        raise click.UsageError("an ndarray column needs a --dtype, such as uint8")
    if kind != "ndarray" and (dtype is not None or shape is not None or variable):
        raise click.UsageError(f"a {kind} column has no --dtype, --shape or --variable")
    with caller.repository() as repo, repo.edit() as staging:
        if kind == "str":
            staging.add_str_column(name, nested=nested, codec=codec)
        elif kind == "bytes":
            staging.add_bytes_column(name, nested=nested, codec=codec)
        else:
            staging.add_ndarray_column(
                name, shape or (), dtype, variable_shape=variable, nested=nested, codec=codec
            )
        schema: Schema = staging[name].schema
        document = {"name": name, "schema": schema_document(schema)}
        out.show(document, [f"Staged the new column {name}: {schema.spelling}"])


@command.command("rename")
@click.argument("old")
@click.argument("new")
@prints
def rename(caller: Caller, out: Output, old: str, new: str) -> None:
    """Stage another name for a column; its samples stay.

    \b
    Examples:
      tvcs column rename labels classes
    """
    with caller.repository() as repo, repo.edit() as staging:
        staging.rename_column(old, new)
        document = {"renamed": {"from": old, "to": new}}
        out.show(document, [f"Staged the column {old} under the name {new}"])


@command.command("delete")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@prints
def delete(caller: Caller, out: Output, names: tuple[str, ...]) -> None:
    """Stage the deletion of columns with all their samples.

    \b
    Examples:
      tvcs column delete masks
    """
    with caller.repository() as repo, repo.edit() as staging:
        for name in names:
            del staging[name]
        lines = [f"Staged the deletion of column {name}" for name in names]
        out.show({"deleted": list(names)}, lines)
