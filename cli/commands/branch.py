"""``tvcs branch``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..arguments import prints
from ..text import summary_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import Repository

    from ..context import Caller
    from ..output import Output


@click.command("branch")
@click.argument("names", metavar="[NAME [REV]]", nargs=-1)
@click.option("--delete", "-d", is_flag=True, help="Delete the branches that are named.")
@click.option("--move", "-m", is_flag=True, help="Rename a branch: [OLD] NEW.")
@click.option("--force", "-f", is_flag=True, help="Delete even commits that nothing else reaches.")
@prints
def command(
    caller: Caller, out: Output, names: tuple[str, ...], delete: bool, move: bool, force: bool
) -> None:
    """List, make, rename and delete branches.

    Without arguments all branches are listed, the current one marked with *. With NAME a branch
    is made at REV, which is HEAD when omitted; 'tvcs switch' goes there.

    \b
    Examples:
      tvcs branch
      tvcs branch experiment main~2
      tvcs branch --move experiment trial
      tvcs branch --delete trial
    """
    _check_usage(names, delete=delete, move=move, force=force)
    with caller.repository() as repo:
        if delete:
            _delete(repo, out, names, force=force)
        elif move:
            old, new = names if len(names) == 2 else (repo.head, names[0])
            repo.rename_branch(old, new)
            out.show({"renamed": {"from": old, "to": new}}, [f"Renamed branch {old} to {new}"])
        elif names:
            commit = repo.create_branch(names[0], names[1] if len(names) == 2 else "HEAD")
            document = {"created": {"name": names[0], "commit": commit.id}}
            out.show(document, [f"Made branch {names[0]} at {commit.short_id}"])
        else:
            document_list = [
                {"name": name, "commit": commit.id, "is_current": name == repo.head}
                for name, commit in repo.branches.items()
            ]
            out.show(document_list, _lines(out, repo))


def _check_usage(names: tuple[str, ...], *, delete: bool, move: bool, force: bool) -> None:
    if delete and move:
        raise click.UsageError("--delete and --move exclude each other")
    if force and not delete:
        raise click.UsageError("--force goes with --delete")
    if (delete or move) and not names:
        raise click.UsageError("which branch? Give its name")
    if not delete and len(names) > 2:
        raise click.UsageError(f"expected at most two names, not {len(names)}")


def _delete(repo: Repository, out: Output, names: tuple[str, ...], *, force: bool) -> None:
    deleted = {}
    for name in names:
        commit = repo.branches.get(name)
        repo.delete_branch(name, force=force)
        deleted[name] = commit
    out.show(
        {"deleted": {name: commit and commit.id for name, commit in deleted.items()}},
        [
            f"Deleted branch {name}" + (f", which was at {commit.short_id}" if commit else "")
            for name, commit in deleted.items()
        ],
    )


def _lines(out: Output, repo: Repository) -> Iterator[str]:
    branches, head = repo.branches, repo.head
    width = max(map(len, [*branches, head]), default=0)
    if head not in branches:
        yield f"* {out.style(f'{head:{width}}', 'green')}  no commits yet"
    for name, commit in branches.items():
        mark, colour = ("*", "green") if name == head else (" ", None)
        place = out.style(commit.short_id, "yellow")
        yield f"{mark} {out.style(f'{name:{width}}', colour)}  {place} {summary_text(commit)}"
