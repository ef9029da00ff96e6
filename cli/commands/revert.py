"""``tvcs revert``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..arguments import KEY_PATTERN_HELP, prints
from ..picks import PickOptions, run_pick, takes_picks

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.command("revert", epilog=KEY_PATTERN_HELP)
@takes_picks
@prints
def command(caller: Caller, out: Output, /, **options: Any) -> None:
    """Take back the change of a commit, or a part of it.

    It is taken back by a new commit. Of a range A..B the commits that are no merges are taken
    back, newest first, and recorded as one. Samples that were changed again since are conflicts,
    which are decided as by 'tvcs merge': ours is what is here, theirs what was before the commit.
    'tvcs undo' takes it back.

    \b
    Examples:
      tvcs revert HEAD
      tvcs revert HEAD~1 --column labels --key 'cat/*'
      tvcs revert v1..HEAD --author Ada --column labels
      tvcs revert HEAD --no-commit
    """
    run_pick(caller, out, "revert", PickOptions(**options))
