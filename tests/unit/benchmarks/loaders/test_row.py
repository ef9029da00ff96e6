"""Rows, tables and the plot of the loaders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.loaders.data import DataSpec
from benchmarks.loaders.measured import Failed, Ingested, Loaded
from benchmarks.loaders.peers import PEERS, PeerSpec
from benchmarks.loaders.row import HEADINGS, PeerRow, Try, draw, markdown, text

if TYPE_CHECKING:
    from pathlib import Path

SPEC = DataSpec("32px", 50_000, 32)
OURS, OTHER = PEERS[0], PeerSpec("other", "Other", "other", shuffle="buffer")
INGESTED = Ingested(2.0, 1_500_000, "other 1.0")


def _loaded(rate: float, mixing: float = 1.0) -> Loaded:
    return Loaded(rate, 2, 0.1, mixing, 300_000_000, 200_000_000)


def _row(peer: PeerSpec, in_order: float, shuffled: float) -> PeerRow:
    tries = [Try(False, 0, _loaded(in_order, 0.01)), Try(True, 0, _loaded(shuffled))]
    return PeerRow(peer, SPEC, INGESTED, tries)


def test_the_table_is_in_order_of_speed_and_compares_with_ours() -> None:
    lines = markdown([_row(OTHER, 3e5, 2e5), _row(OURS, 3e6, 1e6)]).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| **TensorVCS, TensorLoader** | 2.00 s | 1.50 MB | 3.00 M/s | 1.00")
    assert lines[3] == (
        "| Other | 2.00 s | 1.50 MB | 300 k/s | 200 k/s | 5.00 × | buffer, 1.00 | 0 "
        "| 300 MB | 200 MB |"
    )


def test_the_best_number_of_workers_counts_and_failed_tries_do_not() -> None:
    tries = [
        Try(True, 0, _loaded(100)),
        Try(True, 2, _loaded(300)),
        Try(True, 2, Failed("it broke")),
        Try(False, 0, Failed("it broke")),
        Try(False, 2, _loaded(50, 0)),
    ]
    row = PeerRow(OTHER, SPEC, INGESTED, tries)
    assert row.best(is_shuffled=True) == (_loaded(300), 2)
    assert row.failure == ""
    assert row.cells(600.0)[5] == "2.00 ×"
    assert len(row.to_json()["tries"]) == 5


def test_a_peer_without_figures_tells_why_at_the_end_of_the_table() -> None:
    absent = PeerRow(OTHER, SPEC, Failed("not installed: do this"))
    broken = PeerRow(OTHER, SPEC, INGESTED, [Try(True, 0, Failed("drops samples"))])
    lines = text([absent, broken, _row(OURS, 3, 2)]).splitlines()
    assert lines[0].split()[0] == HEADINGS[0]
    assert lines[1].startswith("**TensorVCS, TensorLoader**")
    assert lines[2].startswith("Other: not installed: do this")
    assert "drops samples" in lines[3]
    assert "absent" in lines[3]


def test_the_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "loaders.png"
    draw([_row(OTHER, 3e5, 2e5), _row(OURS, 3e6, 1e6)], file)
    assert file.read_bytes().startswith(b"\x89PNG")
