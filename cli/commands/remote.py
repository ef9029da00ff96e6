"""``tvcs remote``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tensorvcs import Filter
from tensorvcs.errors import TensorVCSError

from ..arguments import prints
from ..transfers import depth_option, filter_options, service_options

if TYPE_CHECKING:
    from tensorvcs import Remote

    from ..context import Caller
    from ..output import Output


@click.group("remote", invoke_without_command=True)
@prints
def command(caller: Caller, out: Output) -> None:
    """List, add and remove remotes.

    A remote is another repository under a short name.

    \b
    Examples:
      tvcs remote
      tvcs remote add origin ../pets
      tvcs remote remove origin
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    with caller.repository() as repo:
        remotes = list(repo.remotes.values())
        rows = [
            (remote.name, remote.shown_url, "promisor" if remote.is_promisor else "")
            for remote in remotes
        ]
        lines = [line.rstrip() for line in out.table(rows)]
        out.show([remote_document(remote) for remote in remotes], lines or ["no remotes"])


@command.command("add")
@click.argument("name")
@click.argument("url")
@filter_options
@depth_option
@service_options
@click.option("--no-check", is_flag=True, help="Do not ask a bucket whether it can be pushed to.")
@prints
def add(
    caller: Caller,
    out: Output,
    name: str,
    url: str,
    columns: tuple[str, ...],
    keys: tuple[str, ...],
    max_bytes: int | None,
    sample: str,
    seed: int,
    depth: int | None,
    options: dict[str, str],
    no_check: bool,
) -> None:
    """Give another repository a short name.

    With --column, --key, --max-bytes or --depth a fetch takes a part of the values only, and the
    rest is fetched when it is read.

    A bucket is asked whether it keeps two pushes at a time apart, which takes a few small
    requests. Where it does not, or does not answer, a note says so; the remote is added.

    \b
    Examples:
      tvcs remote add backup ../backup
      tvcs remote add store s3://datasets/pets -o region=eu-central-1 --no-check
    """
    chosen = Filter(columns or None, keys or None, max_bytes, sample, seed, depth)
    with caller.repository() as repo:
        remote = repo.add_remote(name, url, part=chosen, options=options)
        out.show(remote_document(remote), [f"Added remote {name} at {remote.shown_url}"])
        if remote.is_bucket and not no_check:
            try:
                repo.check_remote(name)
            except TensorVCSError as error:
                out.note(f"Note: {error}")
                if error.hint:
                    out.note(f"Hint: {error.hint}")


@command.command("remove")
@click.argument("name")
@prints
def remove(caller: Caller, out: Output, name: str) -> None:
    """Forget a remote and its remote branches.

    \b
    Examples:
      tvcs remote remove origin
    """
    with caller.repository() as repo:
        repo.remove_remote(name)
        out.show({"removed": name}, [f"Removed remote {name}"])


def remote_document(remote: Remote) -> dict[str, Any]:
    """Return a remote as a program sees it."""
    chosen = remote.filter
    return {
        "name": remote.name,
        "url": remote.shown_url,
        "is_promisor": remote.is_promisor,
        "columns": chosen.columns,
        "keys": chosen.keys,
        "max_bytes": chosen.max_bytes,
        "sample": chosen.sample,
        "seed": chosen.seed,
        "depth": chosen.depth,
    }
