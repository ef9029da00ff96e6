"""Row: one figure beside its baseline, and whether it reaches its bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Unit = Literal["s", "samples/s", "bytes", "x"]

HEADINGS = ("work", "TensorVCS", "baseline", "of it", "ratio", "bar", "met")


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure must reach.

    Attributes
    ----------
    relation : {"at least", "at most"}
    limit : float
        In the unit of the row, or a plain ratio.
    of : {"ratio", "figure"}
        What the limit is held against: ours divided by the baseline, or ours alone.
    """

    relation: Literal["at least", "at most"]
    limit: float
    of: Literal["ratio", "figure"] = "ratio"

    def spelled(self, unit: Unit) -> str:
        """Return the bar as a person reads it, such as ``≥ 0.9 ×``."""
        sign = "≥" if self.relation == "at least" else "≤"
        return f"{sign} {spell(self.limit, 'x' if self.of == 'ratio' else unit)}"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes
    ----------
    work : str
        What was done, with its size.
    unit : {"s", "samples/s", "bytes", "x"}
    ours : float or None
        None when it could not be measured; `note` says why.
    baseline_name : str
        What it stands beside; empty when nothing does.
    baseline : float or None
        In the same unit; None when the baseline is absent.
    bar : Bar, optional
    note : str
    """

    work: str
    unit: Unit
    ours: float | None
    baseline_name: str = ""
    baseline: float | None = None
    bar: Bar | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by the baseline: above 1 is better for a rate, below 1 for a time."""
        if self.ours is None or self.baseline is None or self.baseline <= 0:
            return None
        return self.ours / self.baseline

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is reached; None without a bar, or without the figure for it."""
        if self.bar is None:
            return None
        found = self.ratio if self.bar.of == "ratio" else self.ours
        if found is None:
            return None
        at_least = self.bar.relation == "at least"
        return found >= self.bar.limit if at_least else found <= self.bar.limit

    def cells(self) -> tuple[str, ...]:
        """Return the row as texts, one under each heading."""
        met = {None: "", True: "yes", False: "no"}[self.is_met]
        if self.bar is not None and self.is_met is None:
            met = "absent"
        return (
            self.work + (f" ({self.note})" if self.note else ""),
            spell(self.ours, self.unit),
            self.baseline_name,
            spell(self.baseline, self.unit) if self.baseline_name else "",
            "" if self.ratio is None else spell(self.ratio, "x"),
            "" if self.bar is None else self.bar.spelled(self.unit),
            met,
        )

    def to_json(self) -> dict[str, object]:
        """Return the row as plain values."""
        return {
            "work": self.work,
            "unit": self.unit,
            "ours": self.ours,
            "baseline_name": self.baseline_name,
            "baseline": self.baseline,
            "ratio": self.ratio,
            "bar": None if self.bar is None else self.bar.spelled(self.unit),
            "is_met": self.is_met,
            "note": self.note,
        }


def spell(value: float | None, unit: Unit) -> str:
    """Return a figure with its unit, three digits long."""
    if value is None:
        return "absent"
    if unit == "x":
        return f"{_digits(value)} ×"
    if unit == "s":
        for factor, name in ((1, "s"), (1e3, "ms")):
            if value * factor >= 1:
                return f"{_digits(value * factor)} {name}"
        return f"{_digits(value * 1e6)} µs"
    for factor, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{_digits(value / factor)} {name}{'B' if unit == 'bytes' else '/s'}"
    return f"{_digits(value)} {'B' if unit == 'bytes' else '/s'}"


def _digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:,.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    if value >= 0.0995 or value == 0:
        return f"{value:.2f}"
    return f"{value:.2g}"


def markdown_table(rows: Iterable[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text_table(rows: Sequence[Row]) -> str:
    """Return the rows as a table of aligned columns."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
