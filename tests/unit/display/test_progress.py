from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr
from dataclasses import dataclass

import pytest

from tensorvcs.display.progress import count_progress, transfer_progress


@dataclass
class Moved:
    nbytes: int
    value_count: int


@pytest.fixture
def no_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without rich, whose clock goes a second at each look."""
    monkeypatch.setitem(sys.modules, "rich", None)
    clock = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))


def test_a_function_is_called_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[object] = []
    with count_progress(lambda done, total: seen.append((done, total)), "Verifying") as count:
        assert count is not None
        count(1, 2)
    with transfer_progress(seen.append, "Fetching") as moved:
        assert moved is not None
        moved(3)
    assert seen == [(1, 2), 3]
    assert capsys.readouterr().err == ""


def test_nothing_is_called_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    with count_progress(None, "Verifying") as count, transfer_progress(None, "x") as moved:
        assert (count, moved) == (None, None)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("no_rich")
def test_lines_of_text() -> None:
    with redirect_stderr(io.StringIO()) as terminal, count_progress(True, "Verifying") as count:
        assert count is not None
        count(5, 10)
        count(1000, None)
    assert terminal.getvalue() == (
        "\r\x1b[KVerifying: 5 of 10 (50 %)\r\x1b[KVerifying: 1,000\r\x1b[K"
    )


@pytest.mark.usefixtures("no_rich")
def test_a_line_of_text_about_a_transfer() -> None:
    with redirect_stderr(io.StringIO()) as terminal, transfer_progress(True, "Fetching") as moved:
        assert moved is not None
        moved(Moved(3_000_000, 1200))
    assert terminal.getvalue() == "\r\x1b[KFetching: 3.0 MB, 3.0 MB/s, 1,200 samples\r\x1b[K"


def test_bars_of_rich() -> None:
    pytest.importorskip("rich")
    with (
        redirect_stderr(io.StringIO()),
        transfer_progress(True, "Fetching") as moved,
        count_progress(True, "Verifying") as count,
    ):
        assert moved is not None
        assert count is not None
        moved(Moved(3_000_000, 1200))
        count(5, None)
        count(10, 10)
