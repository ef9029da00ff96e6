"""``tvcs switch``."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from tensorvcs.errors import (
    BranchNotFoundError,
    StateError,
    UncommittedChangesError,
    with_hint,
)

from ..arguments import prints

if TYPE_CHECKING:
    from tensorvcs import Repository

    from ..context import Caller
    from ..output import Output

_HEAD_VALUE = b"ref refs/heads/"


@click.command("switch")
@click.argument("name")
@click.argument("revision", metavar="[REV]", required=False)
@click.option("-c", "--create", is_flag=True, help="Make the branch first, at REV or HEAD.")
@prints
def command(caller: Caller, out: Output, name: str, revision: str | None, create: bool) -> None:
    """Make another branch the current one.

    NAME may be - for the branch before. What is staged stops a switch, unless the branch is made
    at HEAD, and then comes along.

    \b
    Examples:
      tvcs switch main
      tvcs switch -c experiment
      tvcs switch -c fix v1
      tvcs switch -
    """
    if revision is not None and not create:
        raise click.UsageError("REV goes with --create")
    with caller.repository() as repo:
        before = repo.head
        target = _branch_before(repo) if name == "-" else name
        if create and revision is not None:
            if repo.is_dirty:
                raise with_hint(
                    UncommittedChangesError("cannot switch to another commit with staged changes"),
                    "commit them, or drop them with 'tvcs reset'",
                )
            repo.create_branch(target, revision)
            repo.switch(target)
        else:
            _switch(repo, target, create=create)
        kind = "new branch" if create else "branch"
        text = f"Switched to {kind} {target}" if target != before else f"Already on {target}"
        out.show({"branch": repo.head, "before": before, "is_new": create}, [text])


def _switch(repo: Repository, name: str, *, create: bool) -> None:
    try:
        repo.switch(name, create=create)
    except BranchNotFoundError as error:
        near = get_close_matches(name, repo.branches, n=1)
        if name in repo.tags:
            error.hint = f"{name!r} is a tag; 'tvcs switch -c BRANCH {name}' begins a branch there"
        elif near:
            error.hint = f"did you mean 'tvcs switch {near[0]}'? 'tvcs switch -c {name}' makes it"
        raise


def _branch_before(repo: Repository) -> str:
    """Return the branch that the last switch left."""
    for operation in repo.operations():
        for change in operation.changes:
            value = change.before or b""
            if change.name == "HEAD" and value.startswith(_HEAD_VALUE):
                name = value[len(_HEAD_VALUE) :].decode()
                if name in repo.branches and name != repo.head:
                    return name
    raise with_hint(
        StateError("there is no branch before this one"), "'tvcs branch' lists the branches"
    )
