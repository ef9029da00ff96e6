"""``tvcs clone``."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import click

import tensorvcs
from tensorvcs.display.counting import count_text

from ..arguments import prints
from ..transfers import depth_option, filter_options, service_options

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.command("clone")
@click.argument("source", metavar="URL")
@click.argument("path", required=False, type=click.Path())
@click.option("--branch", "-b", metavar="NAME", help="Be on this branch, and fetch it alone.")
@filter_options
@depth_option
@service_options
@click.option("--no-lazy", is_flag=True, help="Never fetch what was left out when it is read.")
@click.option("--bare", is_flag=True, help="Without a staging area, for a server.")
@prints
def command(
    caller: Caller,
    out: Output,
    source: str,
    path: str | None,
    branch: str | None,
    columns: tuple[str, ...],
    keys: tuple[str, ...],
    max_bytes: int | None,
    sample: str,
    seed: int,
    depth: int | None,
    options: dict[str, str],
    no_lazy: bool,
    bare: bool,
) -> None:
    """Copy a repository, whole or in part.

    PATH is the last name of the URL when omitted. The whole history comes; with --column, --key,
    --max-bytes or --depth only a part of the values does, and the rest is fetched when it is
    read. A clone that was interrupted goes on when it is called again.

    \b
    Examples:
      tvcs clone ../pets
      tvcs clone ../pets some-pets --columns images,labels
      tvcs clone ../pets a-look --max-bytes 200MB --sample stratified:labels
      tvcs clone ../pets newest-pets --depth 1
    """
    name = path or PurePosixPath(source.rstrip("/")).name.removesuffix(".git")
    name = name.removesuffix(".bundle")
    folder = caller.directory / (name or "clone")
    place = source if "://" in source else str(caller.directory / source)
    with out.transfer("Cloning") as progress:
        repo = tensorvcs.clone(
            place,
            folder,
            branch=branch,
            columns=list(columns) or None,
            keys=list(keys) or None,
            max_bytes=max_bytes,
            sample=sample,
            seed=seed,
            depth=depth,
            lazy=not no_lazy,
            options=options,
            bare=bare,
            progress=progress,
        )
    with repo:
        commits = repo.branches
        document = {
            "path": str(repo.path),
            "branch": repo.head,
            "branches": sorted(commits),
            "is_partial": repo.is_partial,
        }
        part = "a part of " if repo.is_partial else ""
        origin = repo.remotes.get("origin")
        shown = source if origin is None or "://" not in source else origin.shown_url
        what = f"branch {repo.head}" if repo.head in commits else "no commits yet"
        tags = f", {count_text(len(repo.tags), 'tag')}" if repo.tags else ""
        out.show(document, [f"Cloned {part}{shown} into {repo.path}: {what}{tags}"])
