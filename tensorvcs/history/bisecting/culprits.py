"""What a search for harmful changes has found: groups with their figures, and culprits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tensorvcs.history.bisecting.bisect import Outcome

Level = Literal["column", "source", "keys", "sample"]
LEVELS: tuple[Level, ...] = ("column", "source", "keys", "sample")


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """What one group of changes does to the score.

    Attributes
    ----------
    level : {"column", "source", "keys"}
    name : str
        Names of columns; the source of the commits that changed the samples, or their author;
        what the keys start with, or the first and last of a range of int keys.
    within : tuple of str
        The names of the groups of the levels above that it is in.
    change_count : int
        How many units of change it has: samples, or columns that changed as a whole.
    alone : float or None
        What the earlier version loses when only this is applied; None when not known.
    left_out : float or None
        What the later version regains when only this is left out; None when not known.
    is_harmful : bool
    """

    level: Level
    name: str
    within: tuple[str, ...]
    change_count: int
    alone: float | None
    left_out: float | None
    is_harmful: bool


@dataclass(frozen=True, slots=True)
class Culprit:
    """Changes that made the test worse.

    Attributes
    ----------
    columns : tuple of str
    source : str
        Of the commits that made them: their metadata, or their author.
    group : str
        What the keys start with, or the first and last of a range of int keys; may be empty.
    keys : tuple
        The samples, in key order; pairs of a nested column. Empty when the columns changed as a
        whole.
    alone, left_out : float or None
        As of `GroupFigures`, for these samples together.
    is_resolved : bool
        Whether each of the samples is known to harm. Otherwise the harm is somewhere in them.
    """

    columns: tuple[str, ...]
    source: str
    group: str
    keys: tuple[Any, ...]
    alone: float | None
    left_out: float | None
    is_resolved: bool

    def __str__(self) -> str:
        where = " · ".join(
            part for part in (", ".join(self.columns), self.source, self.group) if part
        )
        count = f"{len(self.keys):,} samples" if len(self.keys) != 1 else f"sample {self.keys[0]!r}"
        return f"{where}: {count if self.keys else 'the column as a whole'}" + (
            "" if self.is_resolved else " (not told apart)"
        )


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What was found in the changes between two versions.

    Attributes
    ----------
    before, after : bool or float
        What the test said of the two versions.
    without : bool, float or None
        What it said of the later version without the culprits; None when it is not known.
    culprits : tuple of Culprit
        The most harmful first.
    groups : tuple of GroupFigures
        The groups that were measured, columns first.
    change_count : int
        How many units of change there are.
    test_count : int
        How many tests were spent on parts.
    untried : tuple of Culprit
        What harms, and was not searched further for want of tests. All of it is among the culprits.
    untestable_count : int
        How many parts the test had to skip.
    """

    before: Outcome
    after: Outcome
    without: Outcome
    culprits: tuple[Culprit, ...]
    groups: tuple[GroupFigures, ...]
    change_count: int
    test_count: int
    untried: tuple[Culprit, ...]
    untestable_count: int
