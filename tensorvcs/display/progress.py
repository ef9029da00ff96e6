"""Progress of a long call: a bar for a person who asks for one, or a function of the caller.

The bars are those of the package `rich`; without it a line of text is drawn over and over.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, Union

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Counted = Callable[[int, int | None], None]

_REDRAW_SECONDS = 0.1
_WIPE = "\r\x1b[K"

T = TypeVar("T")


class Moved(Protocol):
    """What a transfer has moved so far."""

    @property
    def nbytes(self) -> int:
        """All bytes."""
        ...

    @property
    def value_count(self) -> int:
        """Values of samples."""
        ...


Shown = Union[T, Literal[True], None]
"""What a caller gives as ``progress``: a function, True for a bar, or None."""


@contextmanager
def count_progress(progress: Shown[Counted], label: str) -> Iterator[Counted | None]:
    """Yield what is to be called with the count done, and the total or None.

    Parameters
    ----------
    progress : callable, True or None
        A callable is yielded as it is; True is for a bar on standard error while the block runs.
    label : str
        What is being done, such as ``Verifying``.
    """
    if progress is not True:
        yield progress
        return
    with count_bar(label) as draw:
        yield draw


@contextmanager
def transfer_progress(
    progress: Shown[Callable[[Any], None]], label: str
) -> Iterator[Callable[[Any], None] | None]:
    """Yield what is to be called with what was moved so far; see `count_progress`."""
    if progress is not True:
        yield progress
        return
    with transfer_bar(label) as draw:
        yield draw


@contextmanager
def count_bar(label: str) -> Iterator[Counted]:
    """Show on standard error how many of how many are done, while the block runs."""
    bars = _rich()
    if bars is None:
        with _line() as draw_line:
            yield lambda done, total: draw_line(f"{label}: {_of_total(done, total)}")
        return
    columns = (bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    with _bar(bars, label, *columns) as update:
        yield lambda done, total: update(completed=done, total=total)


@contextmanager
def transfer_bar(label: str) -> Iterator[Callable[[Moved], None]]:
    """Show on standard error the bytes and samples that were moved, and the rate."""
    bars = _rich()
    if bars is None:
        started = time.monotonic()
        with _line() as draw_line:
            yield lambda moved: draw_line(f"{label}: {_moved_text(moved, started)}")
        return
    columns = (
        bars.SpinnerColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TextColumn("{task.fields[samples]:,} samples"),
    )
    with _bar(bars, label, *columns, samples=0) as update:
        yield lambda moved: update(completed=moved.nbytes, samples=moved.value_count)


def _rich() -> Any:
    """Return the bars of rich; None where it is not installed."""
    try:
        from rich import progress
    except ImportError:
        return None
    return progress


@contextmanager
def _bar(bars: Any, label: str, *columns: Any, **fields: Any) -> Iterator[Callable[..., None]]:
    from rich.console import Console

    with bars.Progress(
        bars.TextColumn("{task.description}"),
        *columns,
        console=Console(stderr=True),
        transient=True,
    ) as shown:
        task = shown.add_task(label, total=None, **fields)
        yield lambda **changes: shown.update(task, **changes)


@contextmanager
def _line() -> Iterator[Callable[[str], None]]:
    """Draw a line of text over the one before, at most ten times a second."""
    drawn_at = -_REDRAW_SECONDS

    def draw(text: str) -> None:
        nonlocal drawn_at
        now = time.monotonic()
        if now - drawn_at >= _REDRAW_SECONDS:
            drawn_at = now
            sys.stderr.write(_WIPE + text)
            sys.stderr.flush()

    try:
        yield draw
    finally:
        sys.stderr.write(_WIPE)
        sys.stderr.flush()


def _of_total(done: int, total: int | None) -> str:
    return f"{done:,}" + (f" of {total:,} ({100 * done // total} %)" if total else "")


def _moved_text(moved: Moved, started: float) -> str:
    seconds = max(time.monotonic() - started, 1e-3)
    megabytes = moved.nbytes / 1e6
    return f"{megabytes:,.1f} MB, {megabytes / seconds:,.1f} MB/s, {moved.value_count:,} samples"
