"""``tvcs column``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import click

from tensorvcs.display.counting import count_text
from tensorvcs.errors import ColumnNotFoundError

from ..arguments import prints, to_shape
from ..documents import schema_document

if TYPE_CHECKING:
    from tensorvcs import Repository, Schema
    from tensorvcs.objects.schema import MergePolicy

    from ..context import Caller
    from ..output import Output

Policy = Literal["fail", "ours", "theirs", "newest", "union", "mean", "max", "majority"]
POLICIES = get_args(Policy)


@click.group("column", no_args_is_help=False)
def command() -> None:
    """List, create, rename and delete columns, and say how they merge.

    Changes are staged; 'tvcs commit' records them.

    \b
    Examples:
      tvcs column list
      tvcs column create photos --dtype uint8 --shape 32x32x3
      tvcs column policy labels newest
      tvcs column rename labels classes
      tvcs column delete labels
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
            (name, schema.spelling, count_text(count, "sample") + _policy_text(schema))
            for name, (schema, count) in found.items()
        ]
        out.show(document, out.table(rows))


def _policy_text(schema: Schema) -> str:
    return f", merged by {schema.merge}" if schema.merge else ""


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
        before, count = found.pop(change.renamed_from or name, (None, 0))
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
@click.option(
    "--merge",
    type=click.Choice(POLICIES),
    default="fail",
    show_default=True,
    help="What decides a sample that both sides of a merge changed; see 'tvcs column policy'.",
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
    merge: Policy,
) -> None:
    """Stage a new column without samples.

    \b
    Examples:
      tvcs column create thumbnails --dtype uint8 --shape 32x32x3
      tvcs column create photos --dtype uint8 --shape '*x*x3' --variable
      tvcs column create scores --dtype float32 --merge mean
      tvcs column create captions --kind str --merge union
    """
    if kind == "ndarray" and dtype is None:
        raise click.UsageError("an ndarray column needs a --dtype, such as uint8")
    if kind != "ndarray" and (dtype is not None or shape is not None or variable):
        raise click.UsageError(f"a {kind} column has no --dtype, --shape or --variable")
    kept: MergePolicy = "" if merge == "fail" else merge
    with caller.repository() as repo, repo.edit(reason=f"column: create {name}") as staging:
        if kind == "str":
            staging.add_str_column(name, nested=nested, codec=codec, merge=kept)
        elif kind == "bytes":
            staging.add_bytes_column(name, nested=nested, codec=codec, merge=kept)
        else:
            staging.add_ndarray_column(
                name,
                shape or (),
                dtype,
                variable_shape=variable,
                nested=nested,
                codec=codec,
                merge=kept,
            )
        schema: Schema = staging[name].schema
        document = {"name": name, "schema": schema_document(schema)}
        text = f"Staged the new column {name}: {schema.spelling}{_policy_text(schema)}"
        out.show(document, [text])


@command.command("policy")
@click.argument("name")
@click.argument("policy", metavar="[POLICY]", type=click.Choice(POLICIES), required=False)
@prints
def policy(caller: Caller, out: Output, name: str, policy: Policy | None) -> None:
    """Show or stage what decides a sample of a column that both sides of a merge changed.

    \b
    fail      nothing: it is a conflict (the default)
    ours      the value of the branch that is merged into
    theirs    the value of what is merged
    newest    the side that changed the sample last
    union     masks: what is in either; texts: the lines of both; arrays of
              variable shape: the rows of both
    mean      the mean of both, element by element
    max       the larger of both, element by element
    majority  element by element, the value that two of base, ours and theirs have

    The policy is committed with the column, and holds for every merge that is not told another
    with 'tvcs merge --strategy'.

    \b
    Examples:
      tvcs column policy labels
      tvcs column policy labels newest
      tvcs column policy labels fail
    """
    with caller.repository() as repo:
        if policy is None:
            found = _staged_columns(repo)
            if name not in found:
                raise ColumnNotFoundError(
                    f"no column {name!r}; there are: {', '.join(found) or 'none'}"
                )
            kept = found[name][0].merge or "fail"
            out.show({"name": name, "merge": kept}, [kept])
            return
        with repo.edit(reason=f"column: policy {name} {policy}") as staging:
            staging.set_merge_policy(name, policy)
            document = {"name": name, "merge": policy}
            out.show(document, [f"Staged the merge policy {policy} for column {name}"])


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
    with (
        caller.repository() as repo,
        repo.edit(reason=f"column: rename {old} to {new}") as staging,
    ):
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
      tvcs column delete labels
    """
    reason = f"column: delete {', '.join(names)}"
    with caller.repository() as repo, repo.edit(reason=reason) as staging:
        for name in names:
            del staging[name]
        lines = [f"Staged the deletion of column {name}" for name in names]
        out.show({"deleted": list(names)}, lines)
