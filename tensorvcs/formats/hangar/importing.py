"""Import: the commits of a Hangar repository, written anew with all their parents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tensorvcs.display.counting import count_text
from tensorvcs.display.html import table_html, value_html
from tensorvcs.display.progress import count_progress
from tensorvcs.errors import (
    BranchExistsError,
    UncommittedChangesError,
    UnreadableFileError,
    with_hint,
)
from tensorvcs.formats.hangar.commit_writer import CommitWriter, MissingSample
from tensorvcs.formats.hangar.names import legal_branch
from tensorvcs.formats.hangar.reader_client import HangarCommit, HangarHistory, ReaderClient

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from tensorvcs.display.progress import Shown
    from tensorvcs.formats.interfaces import Progress
    from tensorvcs.history.commit import Commit
    from tensorvcs.repository import Repository


@dataclass(frozen=True, slots=True)
class HangarImport:
    """What an import from Hangar did.

    Attributes
    ----------
    commits : int
        Commits written.
    branches : mapping of str to Commit
        Each branch of Hangar that has commits, by its name here.
    samples : int
        Samples written: added or changed, over all commits.
    skipped : int
        Commits that an earlier import had brought.
    missing : tuple of MissingSample
        Samples left out, only with `allow_missing`.
    notes : tuple of str
        What a person should know although all was read.
    """

    commits: int
    branches: Mapping[str, Commit]
    samples: int
    skipped: int
    missing: tuple[MissingSample, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<HangarImport: {count_text(self.commits, 'commit')}, "
            f"{count_text(self.samples, 'sample')}, "
            f"{count_text(len(self.branches), 'branch', 'branches')}, "
            f"{self.skipped} there before>"
        )

    def _repr_html_(self) -> str:
        rows = [[value_html(name), commit._repr_html_()] for name, commit in self.branches.items()]
        return table_html(["branch", "commit"], rows, repr(self)[1:-1])


def import_hangar(
    repo: Repository,
    path: str | os.PathLike[str],
    *,
    python: str | os.PathLike[str] | None = None,
    allow_missing: bool = False,
    progress: Shown[Progress] = None,
) -> HangarImport:
    """Bring all branches of a Hangar repository over, commit by commit.

    Every commit keeps its parents, author, time and message, and all its columns value by value;
    its metadata ``hangar-commit`` is Hangar's name of it. What an earlier import has brought is
    passed over, so that new commits of Hangar can be fetched by importing again.

    Parameters
    ----------
    repo : Repository
    path : path
        The folder of a Hangar repository, the one with ``.hangar`` in it, or that itself.
    python : path, optional
        An interpreter that has the package ``hangar``; the running one when omitted.
    allow_missing : bool
        Leave out samples whose data Hangar lacks, and list them, instead of raising.
    progress : callable or True, optional
        Called with the number of samples written so far, and None.

    Returns
    -------
    HangarImport

    Raises
    ------
    UnreadableFileError
        It is no Hangar repository, it is damaged, it lacks the data of a sample, or it holds
        what this library cannot (a dtype such as longdouble, an int key beyond 64 bits).
    MissingDependencyError
        The interpreter has no package ``hangar``.
    BranchExistsError
        A branch is here already with commits that its branch in Hangar has not.
    UncommittedChangesError
        The current branch would move and the staging area has changes.

    Notes
    -----
    The branches move at the end, in one operation. An error or a crash before leaves nothing to
    be seen; what was written is dropped by a later `gc`, or found there by the next import, which
    reads everything again. The staging area of Hangar is not imported. Its process holds the packed
    records of a commit and its parents, about 70 bytes a sample, and one batch of values.

    Nobody may write to the Hangar repository meanwhile; it is only read.
    """
    place = Path(path)
    with (
        ReaderClient(place, _hangar_folder(place), python) as reader,
        count_progress(progress, "Importing") as report,
        # No branch names the commits until all are there.
        repo.lease(),
    ):
        history = reader.history()
        order = topological(history)
        names = _branch_names(history, place)
        writing = CommitWriter(repo, reader, place, order, allow_missing=allow_missing)
        moving = _branches_to_move(repo, history, names, writing.commits)
        waiting = [commit for commit in order if commit.digest not in writing.commits]
        for commit in waiting:
            writing.write(commit, report)
        targets = {
            name: writing.commits[history.branches[theirs]] for name, theirs in names.items()
        }
        head = legal_branch(history.head)
        repo.place_branches(
            {name: targets[name] for name in moving},
            description=f"import {count_text(len(waiting), 'commit')} from Hangar",
            head=head if head in moving and not repo.is_dirty else None,
        )
    return HangarImport(
        commits=len(waiting),
        branches=targets,
        samples=writing.sample_count,
        skipped=len(order) - len(waiting),
        missing=tuple(writing.missing),
        notes=(*_notes_on(history, names), *writing.notes),
    )


def _hangar_folder(path: Path) -> Path:
    for folder in (path / ".hangar", path):
        if (folder / "branch.lmdb").is_file():
            return folder
    if not path.exists():
        raise UnreadableFileError("there is no such folder", path=str(path))
    raise with_hint(
        UnreadableFileError("it is no Hangar repository", path=str(path)),
        "name the folder that has '.hangar' in it",
    )


def topological(history: HangarHistory) -> list[HangarCommit]:
    """Return the commits, parents before children; the same order for the same history."""
    order: list[HangarCommit] = []
    seen: set[str] = set()
    for name in sorted(history.branches):
        stack = [(history.branches[name], False)]
        while stack:
            digest, are_parents_done = stack.pop()
            if are_parents_done:
                order.append(history.commits[digest])
            elif digest not in seen:
                seen.add(digest)
                stack.append((digest, True))
                stack.extend((parent, False) for parent in history.commits[digest].parents)
    return order


# Branches


def _branch_names(history: HangarHistory, path: Path) -> dict[str, str]:
    """Return Hangar's name of each branch by its name here."""
    names: dict[str, str] = {}
    for theirs in sorted(history.branches):
        name = legal_branch(theirs)
        if name in names:
            raise UnreadableFileError(
                f"its branches {names[name]!r} and {theirs!r} would both be {name!r} here",
                path=str(path),
            )
        names[name] = theirs
    return names


def _branches_to_move(
    repo: Repository, history: HangarHistory, names: dict[str, str], known: Mapping[str, Commit]
) -> list[str]:
    """Return the branches to make or to move forward; the others are ahead of Hangar.

    Asked before anything is written, so that nobody waits for a refusal.
    """
    moving = []
    branches = repo.branches
    for name, theirs in names.items():
        present = branches.get(name)
        target = known.get(history.branches[theirs])
        if present is None or any(
            digest in known and known[digest] == present
            for digest in _ancestors(history, history.branches[theirs])
        ):
            moving.append(name)
            if name == repo.head and repo.is_dirty and (target is None or present != target):
                raise with_hint(
                    UncommittedChangesError(
                        f"branch {name!r} would move, and its staging area has changes"
                    ),
                    "commit them, or drop them with 'tvcs reset'",
                )
        elif target is None or repo.merge_base(present, target) != target:
            raise with_hint(
                BranchExistsError(
                    f"branch {name!r} is here already, with commits that it has not in Hangar"
                ),
                f"give it another name first: tvcs branch --move {name} {name}-2",
            )
    return moving


def _ancestors(history: HangarHistory, digest: str) -> set[str]:
    found: set[str] = set()
    waiting = [digest]
    while waiting:
        digest = waiting.pop()
        if digest not in found:
            found.add(digest)
            waiting.extend(history.commits[digest].parents)
    return found


def _notes_on(history: HangarHistory, names: dict[str, str]) -> Iterator[str]:
    for name, theirs in names.items():
        if name != theirs:
            yield f"branch {theirs!r} is {name!r} here"
    if history.staged_count:
        yield (
            f"changed samples in its staging area: {history.staged_count}, not imported; commit "
            "them with Hangar and import again"
        )
    if history.unreachable_count:
        yield f"commits that no branch reaches: {history.unreachable_count}, not imported"
