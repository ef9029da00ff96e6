"""Several branches to where they belong, at once: the end of a conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.errors import BranchExistsError, with_hint
from tensorvcs.history.ancestry import is_ancestor
from tensorvcs.history.refs import BRANCHES, branch_commit, check_ref_name, encode_commit_ref
from tensorvcs.storage.interfaces import RefChange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.storage.interfaces import Stores


def plan_branches(stores: Stores, targets: Mapping[str, CommitDigest]) -> list[RefChange]:
    """Return the changes that make branches, or move those that are there forward.

    A branch that is where it belongs needs no change.

    Raises
    ------
    RefNameError
        A name is no legal one.
    BranchExistsError
        A branch is there, and its commit is no ancestor of the one it would move to.
    """
    changes = []
    for name, target in targets.items():
        full = BRANCHES + check_ref_name(name, "branch")
        before = branch_commit(stores.objects, stores.refs, name)
        if before is not None and not is_ancestor(stores.objects, before, target):
            raise with_hint(
                BranchExistsError(
                    f"branch {name!r} has commits that would be lost by moving it from "
                    f"{before.hex()[:12]} to {target.hex()[:12]}"
                ),
                f"give it another name first: tvcs branch --move {name} {name}-2",
            )
        if before != target:
            changes.append(RefChange(full, stores.refs.get(full), encode_commit_ref(target)))
    return changes
