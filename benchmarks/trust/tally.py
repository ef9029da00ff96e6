"""Tally: what the runs of one experiment came to, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HEADINGS = (
    "experiment",
    "runs",
    "losses",
    "wrong tensors",
    "unreadable repositories",
    "crashes",
    "unnoticed",
    "told",
    "harmless",
    "mended",
)


@dataclass(slots=True)
class Reading:
    """What one look at a whole repository found.

    Attributes
    ----------
    right, wrong, missing : int
        Values that are as they were stored; that are others; that are gone without an error.
    errors : dict of str to int
        Errors of TensorVCS by class.
    foreign : list of str
        Errors of others, and the signal that ended the process.
    is_sound : bool or None
        What ``verify`` says; None when it raised, or was not asked.
    is_opened : bool
    notes : list of str
        What was wrong or missing, the first few.
    recovered : Reading, optional
        Another look, after ``recover``, where one was taken.
    """

    right: int = 0
    wrong: int = 0
    missing: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    is_sound: bool | None = None
    is_opened: bool = False
    notes: list[str] = field(default_factory=list)
    recovered: Reading | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all could be read, and `verify` finds nothing."""
        has_failed = self.errors or self.wrong or self.missing or self.foreign
        return bool(self.right) and self.is_sound is True and not has_failed

    def note(self, text: str) -> None:
        """Keep a remark, of the first few."""
        if len(self.notes) < 10:
            self.notes.append(text)


@dataclass(slots=True)
class Tally:
    """The runs of one experiment, counted.

    Attributes
    ----------
    experiment : str
    runs : int
    losses, wrong, unreadable, crashes, unnoticed : int
        Runs in which it happened; see the package for what each means. All should be 0.
    told : int
        Runs in which the harm showed as an error of TensorVCS, or `verify` found it.
    harmless : int
        Runs after which all could be read and was right.
    mended : int
        Runs after which it could not, but could behind ``recover``, which had no other repository
        to take anything from.
    examples : list of str
        What the first runs that count against the store looked like.
    """

    experiment: str
    runs: int = 0
    losses: int = 0
    wrong: int = 0
    unreadable: int = 0
    crashes: int = 0
    unnoticed: int = 0
    told: int = 0
    harmless: int = 0
    mended: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, run: str, reading: Reading, *, may_be_unreadable: bool = False) -> None:
        """Count one run, called `run` in the examples.

        With `may_be_unreadable` nothing of the repository was left whole, so that it is none
        against the store when nothing can be read. Where ``recover`` was run, what counts is what
        can be read behind it; before and behind it nothing may be lost, wrong or unnoticed.
        """
        self.runs += 1
        last = reading.recovered or reading
        looks = [reading] if reading.recovered is None else [reading, reading.recovered]
        is_unreadable = not last.right and not may_be_unreadable
        is_told = bool(reading.errors) or reading.is_sound is False or not reading.is_opened
        has_failed = bool(reading.errors or reading.wrong or reading.missing)
        is_lost = any(look.missing for look in looks) or last.right < reading.right
        is_wrong = any(look.wrong for look in looks)
        has_crashed = any(look.foreign for look in looks)
        is_unnoticed = any(
            look.is_sound is True and (look.errors or look.wrong or look.missing) for look in looks
        )
        self.losses += is_lost
        self.wrong += is_wrong
        self.crashes += has_crashed
        self.unreadable += is_unreadable
        self.unnoticed += is_unnoticed
        self.told += is_told
        self.harmless += not is_told and not has_failed and not reading.foreign
        self.mended += reading.recovered is not None and last.is_whole
        has_fault = is_lost or is_wrong or has_crashed or is_unreadable or is_unnoticed
        if has_fault and len(self.examples) < 20:
            parts = [
                part
                for look in looks
                for part in (*look.foreign, *look.notes, str(look.errors or ""))
            ]
            self.examples.append(f"{run}: " + "; ".join(filter(None, parts)))

    @property
    def faults(self) -> int:
        """Everything that counts against the store; 0 is the promise."""
        return self.losses + self.wrong + self.unreadable + self.crashes + self.unnoticed

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        counts = (
            self.runs, self.losses, self.wrong, self.unreadable, self.crashes, self.unnoticed,
            self.told, self.harmless, self.mended,
        )  # fmt: skip
        return (self.experiment, *(f"{count:,}" for count in counts))

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        return {name: getattr(self, name) for name in self.__slots__}


def text_table(tallies: Sequence[Tally]) -> str:
    """Return a table of aligned columns."""
    lines = [HEADINGS, *(tally.cells() for tally in tallies)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEADINGS))]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join(
            "  " + cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)
        )
        for line in lines
    )


def markdown_table(tallies: Iterable[Tally]) -> str:
    """Return a table in Markdown."""
    rule = ("---", *("---:",) * (len(HEADINGS) - 1))
    lines = [HEADINGS, rule, *(tally.cells() for tally in tallies)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
