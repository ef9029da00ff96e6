"""Rows: what was measured of one peer on one data set, and the table and the plot of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.loaders.measured import Failed, Ingested, Loaded, to_json
from benchmarks.row import spell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.loaders.data import DataSpec
    from benchmarks.loaders.peers import PeerSpec

HEADINGS = (
    "loader",
    "ingest",
    "on disk",
    "in order",
    "shuffled",
    "TensorLoader is",
    "shuffle",
    "workers",
    "peak memory",
    "of it unmapped",
)


@dataclass(frozen=True, slots=True)
class Try:
    """One measurement of reading.

    Attributes
    ----------
    is_shuffled : bool
    workers : int
    measured : Loaded or Failed
    """

    is_shuffled: bool
    workers: int
    measured: Loaded | Failed


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One peer on one data set.

    Attributes
    ----------
    peer : PeerSpec
    data : DataSpec
    ingested : Ingested or Failed
        With `Failed` there are no tries.
    tries : sequence of Try
    """

    peer: PeerSpec
    data: DataSpec
    ingested: Ingested | Failed
    tries: Sequence[Try] = ()

    def best(self, *, is_shuffled: bool) -> tuple[Loaded, int] | None:
        """Return the quickest try of one kind and its number of workers; None when all failed."""
        found = [
            (one.measured, one.workers)
            for one in self.tries
            if one.is_shuffled == is_shuffled and isinstance(one.measured, Loaded)
        ]
        return max(found, key=lambda one: one[0].samples_per_second, default=None)

    @property
    def shuffled_rate(self) -> float:
        """Samples a second of a shuffled epoch; 0 when there is none."""
        found = self.best(is_shuffled=True)
        return 0.0 if found is None else found[0].samples_per_second

    @property
    def failure(self) -> str:
        """Why figures are missing; empty when none is."""
        if isinstance(self.ingested, Failed):
            return self.ingested.reason
        for is_shuffled in (False, True):
            if self.best(is_shuffled=is_shuffled) is None:
                for one in self.tries:
                    if one.is_shuffled == is_shuffled and isinstance(one.measured, Failed):
                        return one.measured.reason
        return ""

    def cells(self, ours: float) -> tuple[str, ...]:
        """Return the row as texts, one under each heading.

        Parameters
        ----------
        ours : float
            Samples a second of TensorLoader, shuffled; 0 when there is no such figure.
        """
        title = f"**{self.peer.title}**" if self.peer.is_ours else self.peer.title
        if not self.peer.reads_disk:
            title += " (not from disk)"
        if isinstance(self.ingested, Failed):
            return (f"{title}: {self.ingested.reason}", *[""] * (len(HEADINGS) - 1))
        if self.failure:
            title += f": {self.failure}"
        both = [self.best(is_shuffled=is_shuffled) for is_shuffled in (False, True)]
        rates = [spell(one and one[0].samples_per_second, "samples/s") for one in both]
        shuffled = both[1]
        share = f"{spell(ours / shuffled[0].samples_per_second, 'x')}" if shuffled and ours else ""
        shuffle = f"{self.peer.shuffle}, {shuffled[0].mixing:.2f}" if shuffled else ""
        loaded = [one[0] for one in both if one is not None]
        return (
            title,
            spell(self.ingested.seconds, "s"),
            spell(self.ingested.disk_nbytes, "bytes"),
            *rates,
            share,
            shuffle,
            " and ".join(dict.fromkeys(str(one[1]) for one in both if one is not None)),
            spell(max((one.peak_nbytes for one in loaded), default=None), "bytes"),
            spell(max((one.unmapped_nbytes for one in loaded), default=None), "bytes"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain values, with every try."""
        return {
            "peer": self.peer.module,
            "title": self.peer.title,
            "data": asdict(self.data),
            "shuffle": self.peer.shuffle,
            "failure": self.failure,
            "ingested": to_json(self.ingested),
            "tries": [
                {
                    "is_shuffled": one.is_shuffled,
                    "workers": one.workers,
                    "measured": to_json(one.measured),
                }
                for one in self.tries
            ],
        }


def in_order_of_speed(rows: Sequence[PeerRow]) -> list[PeerRow]:
    """Return rows by shuffled samples a second, the quickest first."""
    return sorted(rows, key=lambda row: -row.shuffled_rate)


def lines_of(rows: Sequence[PeerRow]) -> list[tuple[str, ...]]:
    """Return the lines of the table of one data set, the headings first."""
    ours = max((row.shuffled_rate for row in rows if row.peer.module == "tensor_loader"), default=0)
    return [HEADINGS, *(row.cells(ours) for row in in_order_of_speed(rows))]


def markdown(rows: Sequence[PeerRow]) -> str:
    """Return the table of one data set in Markdown."""
    lines = lines_of(rows)
    lines.insert(1, ("---",) * len(HEADINGS))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text(rows: Sequence[PeerRow]) -> str:
    """Return the table of one data set in aligned columns; long reasons do not widen it."""
    lines = lines_of(rows)
    widths = [max(len(line[at]) for line in lines if any(line[1:])) for at in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def draw(rows: Sequence[PeerRow], file: Path) -> None:
    """Draw samples a second of each peer, a panel for each data set. Needs matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    specs = list(dict.fromkeys(row.data for row in rows))
    figure, panels = pyplot.subplots(
        1, len(specs), figsize=(6.5 * len(specs), 5.5), squeeze=False, layout="constrained"
    )
    for panel, spec in zip(panels[0], specs, strict=True):
        shown = [row for row in rows if row.data == spec and row.shuffled_rate]
        shown = in_order_of_speed(shown)[::-1]
        for place, row in enumerate(shown):
            colour = "tab:red" if row.peer.is_ours else "tab:blue"
            for offset, is_shuffled in ((0.2, False), (-0.2, True)):
                found = row.best(is_shuffled=is_shuffled)
                rate = 0.0 if found is None else found[0].samples_per_second
                panel.barh(
                    place + offset, rate, 0.38, color=colour, alpha=1 if is_shuffled else 0.4
                )
                panel.text(
                    rate * 1.05, place + offset, spell(rate, "samples/s"), va="center", size=7
                )
        titles = [
            row.peer.title + ("" if row.peer.reads_disk else " (not from disk)") for row in shown
        ]
        panel.set_yticks(range(len(shown)), titles, size=8)
        panel.set_xscale("log")
        panel.margins(x=0.15)
        panel.set_xlabel("samples a second: shuffled, and in order (light)")
        panel.set_title(spec.title, size=10)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)
    pyplot.close(figure)
