"""Outcome: what the runs of one experiment came to for one system, and the tables of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.trust.tally import Reading

FAULTS = ("losses", "wrong", "unreadable", "crashes", "stuck")
HEADINGS = (
    "experiment",
    "system",
    "runs",
    "losses",
    "wrong tensors",
    "unreadable repositories",
    "crashes",
    "stuck",
    "told",
    "mended",
    "harmless",
)
_EXAMPLES = 8


@dataclass(slots=True)
class Outcome:
    """The runs of one experiment with one system, counted.

    Attributes
    ----------
    experiment, system : str
    runs : int
    losses : int
        Runs after which something acknowledged is gone: without an error where the files were
        harmed, with or without one otherwise.
    wrong : int
        Runs after which a read gave another row than was stored.
    unreadable : int
        Runs after which nothing at all could be read, by the system's own repair either.
    crashes : int
        Runs in which a signal ended a process that nobody killed.
    stuck : int
        Runs after which nothing more could be committed until a person removed something.
    told : int
        Runs after which a read failed with an error, and others gave what was stored.
    mended : int
        Runs after which nothing could be read, and something behind the system's own repair; what
        it could not bring back ends in an error.
    harmless : int
        Runs after which all could be read and was right.
    acked, refused : int
        Commits that were acknowledged; that ended with an error instead.
    is_harmed : bool
        Whether files were harmed.
    absence : str
        Why the system was not run, if it was not.
    examples : list of str
    """

    experiment: str
    system: str
    runs: int = 0
    losses: int = 0
    wrong: int = 0
    unreadable: int = 0
    crashes: int = 0
    stuck: int = 0
    told: int = 0
    mended: int = 0
    harmless: int = 0
    acked: int = 0
    refused: int = 0
    is_harmed: bool = False
    absence: str = ""
    examples: list[str] = field(default_factory=list)

    def add(
        self,
        run: str,
        reading: Reading,
        *,
        may_err: bool = False,
        is_stuck: bool = False,
        crashed: str = "",
        mended: Reading | None = None,
    ) -> None:
        """Count one run.

        With `may_err` files were harmed, so that an error is what a reader should give. A process
        that nobody killed ended by what `crashed` names. `mended` is another look, behind the
        system's own repair, where there was nothing to be read before.
        """
        self.runs += 1
        self.is_harmed |= may_err
        crash = crashed or ", ".join(reading.foreign)
        is_mended = mended is not None and bool(mended.right)
        if mended is not None and is_mended:
            reading = mended
            crash = crash or ", ".join(mended.foreign)
        is_expected = bool(reading.right or reading.wrong or reading.missing or reading.errors)
        is_unreadable = is_expected and not reading.right and not reading.wrong
        is_lost = bool(reading.missing) and not is_unreadable
        if not may_err and not is_unreadable:
            is_lost |= bool(reading.errors)
        faults = {
            "losses": is_lost,
            "wrong": bool(reading.wrong),
            "unreadable": is_unreadable,
            "crashes": bool(crash),
            "stuck": is_stuck,
        }
        for name, happened in faults.items():
            setattr(self, name, getattr(self, name) + happened)
        is_fault = any(faults.values())
        is_told = bool(reading.errors) and not is_fault
        self.mended += is_mended and not is_fault
        self.told += is_told and not is_mended
        self.harmless += not is_told and not is_mended and not is_fault
        if any(faults.values()) and len(self.examples) < _EXAMPLES:
            happened_names = [name for name, happened in faults.items() if happened]
            notes = "; ".join(filter(None, [crash, *reading.notes][:3]))
            # Some errors have many lines.
            self.examples.append(" ".join(f"{run}: {', '.join(happened_names)}: {notes}".split()))

    @property
    def faults(self) -> int:
        """What no store may do; one may refuse to be read whose files were harmed."""
        found = self.losses + self.wrong + self.crashes + self.stuck
        return found if self.is_harmed else found + self.unreadable

    @property
    def cell(self) -> str:
        """What happened, for a table with a column for each system."""
        if not self.runs:
            return "–"
        words = {"losses": "lost", "crashes": "crashed"}
        found = [
            f"{getattr(self, name)} {words.get(name, name)}"
            for name in FAULTS
            if getattr(self, name)
        ]
        return ", ".join(found) or "0"

    def cells(self) -> tuple[str, ...]:
        """Return the row of the long table."""
        counts = (
            self.runs, self.losses, self.wrong, self.unreadable, self.crashes, self.stuck,
            self.told, self.mended, self.harmless,
        )  # fmt: skip
        return (self.experiment, self.system, *(f"{count:,}" for count in counts))

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        return {name: getattr(self, name) for name in self.__slots__}


def long_table(outcomes: Iterable[Outcome]) -> str:
    """Return a Markdown table with a row for each experiment and system."""
    rule = ("---", "---", *("---:",) * (len(HEADINGS) - 2))
    lines = [HEADINGS, rule, *(found.cells() for found in outcomes if found.runs)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def wide_table(outcomes: Sequence[Outcome]) -> str:
    """Return a Markdown table with a row for each system and a column for each experiment.

    A cell holds the runs in which each fault happened, or 0.
    """
    experiments = list(dict.fromkeys(found.experiment for found in outcomes))
    systems = list(dict.fromkeys(found.system for found in outcomes if found.runs))
    runs = {
        name: Counter(found.runs for found in outcomes if found.experiment == name and found.runs)
        for name in experiments
    }
    headings = [
        f"{name} ({count.most_common(1)[0][0]} runs)" if count else name
        for name, count in runs.items()
    ]
    cells = {(found.experiment, found.system): found.cell for found in outcomes}
    lines = [("", *headings), ("---", *("---",) * len(headings))]
    lines += [
        (system, *(cells.get((name, system), "–") for name in experiments)) for system in systems
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
