"""What a bisect has found, and how it looks to a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.display.chart import chart_svg
from tensorvcs.display.html import table_html, value_html

if TYPE_CHECKING:
    from tensorvcs.history.bisecting.bisect import BisectStep, Outcome
    from tensorvcs.history.bisecting.culprits import Culprit, Narrowing
    from tensorvcs.history.commit import Commit

_GOOD_COLOUR, _BAD_COLOUR = "#2a9d3a", "#d1242f"
_SHOWN_KEYS = 12


@dataclass(frozen=True, slots=True)
class BisectResult:
    """What a bisect has found.

    Attributes
    ----------
    commit : Commit or None
        The first bad commit; None when skipped or untested commits leave it open.
    before, after : bool, float or None
        What the test said of its first parent and of itself; None where it was skipped, or has
        no parent.
    suspects : tuple of Commit
        The commits that may be the first bad one, parents before children; one when it is known.
    steps : tuple of BisectStep
        The commits that were tested, in order, the ends first.
    test_count : int
        How often the test ran, on commits and on parts of them.
    narrowing : Narrowing or None
        What was found in the commit, or in the range; None when that was not asked for, or
        `note` says why it could not be.
    note : str
        What a reader of the result has to know; mostly empty.
    """

    commit: Commit | None
    before: Outcome
    after: Outcome
    suspects: tuple[Commit, ...]
    steps: tuple[BisectStep, ...]
    test_count: int
    narrowing: Narrowing | None = None
    note: str = ""

    @property
    def tested(self) -> list[tuple[Commit, Outcome]]:
        """The commits that were tested, in order, and what the test said."""
        return [(step.commit, step.outcome) for step in self.steps]

    @property
    def culprits(self) -> tuple[Culprit, ...]:
        """The changes that made the test worse, the most harmful first."""
        return self.narrowing.culprits if self.narrowing else ()

    @property
    def title(self) -> str:
        """What was found, in a line."""
        if self.commit is None:
            return f"one of {len(self.suspects)} commits is the first bad one"
        return f"{self.commit.short_id} {self.commit.summary!r} is the first bad commit"

    def __repr__(self) -> str:
        scores = (
            ""
            if self.commit is None
            else f", {outcome_text(self.before)} → {outcome_text(self.after)}"
        )
        culprits = "".join(f"; {culprit}" for culprit in self.culprits[:3])
        more = "; …" if len(self.culprits) > 3 else ""
        return f"<BisectResult: {self.title}{scores}, {self.test_count} tests{culprits}{more}>"

    def _repr_html_(self) -> str:
        rows = [
            [value_html(step.commit.short_id), value_html(step.commit.summary), _verdict(step)]
            for step in self._in_history()
        ]
        parts = [
            table_html(["commit", "message", "test"], rows, repr(self)[1:-1]),
            self._chart(),
        ]
        if self.note:
            parts.append(f"<p>{value_html(self.note)}</p>")
        if self.narrowing:
            parts += [_culprits_html(self.narrowing), _groups_html(self.narrowing)]
        return "".join(parts)

    def _in_history(self) -> list[BisectStep]:
        return sorted(self.steps, key=lambda step: (step.commit.object.generation, step.commit.id))

    def _chart(self) -> str:
        points = [
            (
                float(step.outcome),
                _GOOD_COLOUR if step.is_good else _BAD_COLOUR,
                f"{step.commit.short_id} {step.commit.summary}: {outcome_text(step.outcome)}",
            )
            for step in self._in_history()
            if step.outcome is not None
        ]
        return chart_svg(points)


def outcome_text(outcome: Outcome) -> str:
    """Return what a test said in a word: good, bad, skipped, or the score."""
    if outcome is None:
        return "skipped"
    if isinstance(outcome, bool):
        return "good" if outcome else "bad"
    return f"{outcome + 0.0:.6g}"


def _verdict(step: BisectStep) -> str:
    text = outcome_text(step.outcome)
    if step.is_good is None:
        return text
    colour, word = (_GOOD_COLOUR, "good") if step.is_good else (_BAD_COLOUR, "bad")
    return f'<span style="color:{colour}">{text if text == word else f"{text}, {word}"}</span>'


def _culprits_html(narrowing: Narrowing) -> str:
    rows = []
    for culprit in narrowing.culprits:
        keys = ", ".join(str(key) for key in culprit.keys[:_SHOWN_KEYS])
        more = ", …" if len(culprit.keys) > _SHOWN_KEYS else ""
        rows.append(
            [
                value_html(", ".join(culprit.columns)),
                value_html(culprit.source),
                value_html(culprit.group),
                str(len(culprit.keys)) + ("" if culprit.is_resolved else " (not told apart)"),
                value_html(keys + more),
                _figure(culprit.alone),
                _figure(culprit.left_out),
            ]
        )
    header = ["columns", "source", "keys", "samples", "", "lost alone", "regained without"]
    return table_html(header, rows, "culprits")


def _groups_html(narrowing: Narrowing) -> str:
    rows = [
        [
            group.level,
            value_html(" · ".join(name for name in (*group.within, group.name) if name)),
            str(group.change_count),
            _figure(group.alone),
            _figure(group.left_out),
            f'<span style="color:{_BAD_COLOUR}">harms</span>' if group.is_harmful else "",
        ]
        for group in narrowing.groups
    ]
    header = ["by", "group", "changes", "lost alone", "regained without", ""]
    return table_html(header, rows, "groups of changes")


def _figure(figure: float | None) -> str:
    return "?" if figure is None else f"{figure + 0.0:.4g}"
