"""``tvcs cherry-pick``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..arguments import KEY_PATTERN_HELP, prints
from ..picks import PickOptions, run_pick, takes_picks

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.command("cherry-pick", epilog=KEY_PATTERN_HELP)
@takes_picks
@prints
def command(caller: Caller, out: Output, /, **options: Any) -> None:
    """Make the change of a commit, or a part of it, on this branch.

    The new commit has the author, the time and the message of the original. Of a range A..B the
    commits that are no merges are taken, oldest first, and recorded as one. Conflicts are decided
    as by 'tvcs merge'; 'tvcs undo' takes it back.

    \b
    Examples:
      tvcs cherry-pick experiment
      tvcs cherry-pick experiment --column labels --key 'cat/*'
      tvcs cherry-pick main..experiment --author Ada --each
      tvcs cherry-pick experiment --no-commit --strategy theirs
    """
    run_pick(caller, out, "cherry-pick", PickOptions(**options))
