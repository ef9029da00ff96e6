"""The only printer: text, JSON, errors and progress."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tensorvcs.display.progress import Moved

    Progress = Callable[[int, int | None], None]

_PLAIN_WIDTH = 80


class Output:
    """Prints what a command found.

    Parameters
    ----------
    is_json : bool
        Whether the command prints one JSON document instead of text.
    has_colour : bool
        Whether colours are wanted where standard output is a terminal.
    """

    def __init__(self, *, is_json: bool = False, has_colour: bool = False) -> None:
        self.is_json = is_json
        self._has_colour = has_colour and sys.stdout.isatty()

    @property
    def draws_in_colour(self) -> bool:
        """Whether pictures can be drawn with blocks in colours, which takes a Unicode terminal."""
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        return self._has_colour and encoding.lower().startswith("utf")

    @property
    def width(self) -> int:
        """The letters of a line: of the terminal, or 80 elsewhere."""
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PLAIN_WIDTH

    def style(self, text: str, colour: str | None = None, *, bold: bool = False) -> str:
        """Return text in a colour, or as it is where there are no colours."""
        if not self._has_colour or not (colour or bold):
            return text
        return click.style(text, fg=colour, bold=bold or None)

    def line(self, text: str = "") -> None:
        """Print one line."""
        click.echo(text, color=self._has_colour)

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines as they come; what is longer than the terminal goes through the pager."""
        rest = iter(lines)
        if sys.stdout.isatty():
            first = list(islice(rest, shutil.get_terminal_size().lines - 1))
            rest = chain(first, rest)
            if len(first) == shutil.get_terminal_size().lines - 1:
                click.echo_via_pager((f"{line}\n" for line in rest), color=self._has_colour)
        for line in rest:
            self.line(line)

    def document(self, value: object) -> None:
        """Print the one JSON document of a command."""
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))

    def show(self, document: object, lines: Iterable[str]) -> None:
        """Print the document when JSON was asked for, otherwise the lines."""
        if self.is_json:
            self.document(document)
        else:
            self.lines(lines)

    def table(self, rows: Iterable[tuple[str, ...]]) -> list[str]:
        """Return rows as lines with aligned columns; the last column has no padding."""
        listed = list(rows)
        if not listed:
            return []
        widths = [max(len(row[at]) for row in listed) for at in range(len(listed[0]) - 1)]
        return [
            "  ".join([f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)])
            + f"  {row[-1]}"
            if widths
            else row[-1]
            for row in listed
        ]

    def note(self, text: str) -> None:
        """Print a line beside the result, to standard error."""
        click.echo(text, err=True)

    def error(self, text: str, hint: str | None = None) -> None:
        """Print what went wrong and what to do next, to standard error."""
        click.echo(f"Error: {text}", err=True)
        if hint:
            click.echo(f"Hint: {hint}", err=True)

    def ask_secret(self, question: str) -> str | None:
        """Ask for a text that is not shown; None where nobody is there to answer."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        return str(
            click.prompt(question, hide_input=True, err=True, default="", show_default=False)
        )

    def flush(self) -> None:
        """Write what is buffered, so that a closed pipe shows itself now."""
        sys.stdout.flush()

    @contextmanager
    def progress(self, label: str) -> Iterator[Progress]:
        """Show a bar on standard error while the block runs; nothing where that is no terminal.

        Yields
        ------
        callable
            To be called with the count done and the total, None while that is unknown.
        """
        if not sys.stderr.isatty():
            yield _no_progress
            return
        # Not before: help and completion come without the library.
        from tensorvcs.display.progress import count_bar

        with count_bar(label) as draw:
            yield draw

    @contextmanager
    def transfer(self, label: str) -> Iterator[Callable[[Moved], None]]:
        """Show the bytes and samples of a transfer while the block runs, as `progress` does."""
        if not sys.stderr.isatty():
            yield _no_transfer
            return
        from tensorvcs.display.progress import transfer_bar

        with transfer_bar(label) as draw:
            yield draw


def _no_progress(done: int, total: int | None) -> None:
    pass


def _no_transfer(moved: Moved) -> None:
    pass


def prepare_streams() -> None:
    """Let a file name that is no text, and a terminal without Unicode, never stop a command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def silence_stdout() -> None:
    """Send what is left in the buffer nowhere, after the reader of the pipe has gone."""
    with suppress(OSError):  # a stream of a test has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
