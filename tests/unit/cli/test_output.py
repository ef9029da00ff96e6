"""The printer, on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import pytest

from cli.output import Output, prepare_streams
from tensorvcs import Transferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def on_terminal() -> Iterator[Terminal]:
    """Make both streams one terminal; no fixture, since pytest replaces streams before a test."""
    stream = Terminal()
    with redirect_stdout(stream), redirect_stderr(stream):
        yield stream


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to the pager."""
    sent: list[str] = []

    def page(lines: Callable[[], None], color: bool) -> None:
        sent.extend(lines)  # type: ignore[arg-type]

    monkeypatch.setattr("click.echo_via_pager", page)
    return sent


def test_colours_only_on_a_terminal() -> None:
    with on_terminal():
        coloured = Output(has_colour=True)
        plain = Output(has_colour=False)
    assert coloured.style("a", "red") == "\x1b[31ma\x1b[0m"
    assert coloured.style("a") == "a"
    assert plain.style("a", "red") == "a"


def test_no_colours_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert Output(has_colour=True).style("a", "red") == "a"


def test_short_output_stays_on_the_screen(pages: list[str]) -> None:
    with on_terminal() as terminal:
        Output().lines(["a", "b"])
    assert terminal.getvalue() == "a\nb\n"
    assert pages == []


def test_long_output_goes_through_the_pager(pages: list[str]) -> None:
    with on_terminal() as terminal:
        Output().lines(str(number) for number in range(500))
    assert terminal.getvalue() == ""
    assert pages == [f"{number}\n" for number in range(500)]


def test_long_output_into_a_file_is_written_as_it_comes(
    monkeypatch: pytest.MonkeyPatch, pages: list[str]
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    Output().lines(str(number) for number in range(500))
    assert len(stream.getvalue().splitlines()) == 500
    assert pages == []


def test_json_or_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Output(is_json=True).show({"name": "Füße"}, ["text"])
    assert capsys.readouterr().out == '{\n  "name": "Füße"\n}\n'
    Output().show({"name": "x"}, ["text"])
    assert capsys.readouterr().out == "text\n"


def test_errors_and_hints(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error("it broke", "mend it")
    Output().error("it broke")
    captured = capsys.readouterr()
    assert captured.err == "Error: it broke\nHint: mend it\nError: it broke\n"
    assert captured.out == ""


def test_table() -> None:
    out = Output()
    assert out.table([("a", "bb", "c"), ("aaa", "b", "cc")]) == ["a    bb  c", "aaa  b   cc"]
    assert out.table([("a",)]) == ["a"]
    assert out.table([]) == []


def test_no_progress_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with Output().progress("Importing") as progress:
        progress(1, 10)
        progress(2, None)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_plain_progress_is_wiped_when_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    clock = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with on_terminal() as terminal, Output().progress("Importing") as progress:
        progress(5, 10)
        progress(1000, None)
    assert terminal.getvalue() == (
        "\r\x1b[KImporting: 5 of 10 (50 %)\r\x1b[KImporting: 1,000\r\x1b[K"
    )


def test_plain_progress_is_wiped_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    with (
        on_terminal() as terminal,
        pytest.raises(ValueError, match="broken"),
        Output().progress("Importing"),
    ):
        raise ValueError("broken")
    assert terminal.getvalue() == "\r\x1b[K"


def test_rich_progress() -> None:
    pytest.importorskip("rich")
    with on_terminal() as terminal, Output().progress("Importing") as progress:
        progress(5, 10)
    assert "Importing" in terminal.getvalue()


def test_no_transfer_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with Output().transfer("Fetching") as progress:
        progress(Transferred(value_count=3, value_nbytes=9))
    assert capsys.readouterr().err == ""


def test_a_transfer_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    with on_terminal() as terminal, Output().transfer("Fetching") as progress:
        progress(Transferred(value_count=3, value_nbytes=9))
    assert "Fetching: 0.0 MB, 0.0 MB/s, 3 samples" in terminal.getvalue()


def test_a_file_name_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8"))
    prepare_streams()
    Output().line("… \udc80")
    Output().flush()
    assert written.getvalue() == b"\xe2\x80\xa6 \\udc80\n"
