"""A tiny repository of every kind of file, and a process that reads copies of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.trust import tiny
from benchmarks.trust.experiments import Trial
from benchmarks.trust.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tiny.Tiny:
    """The repository that is harmed in copies."""
    return tiny.build(tmp_path_factory.mktemp("whole") / "tiny")


@pytest.fixture(scope="session")
def trial(whole: tiny.Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with Probe() as probe:
        yield Trial(tmp_path_factory.mktemp("harmed"), whole, probe, run_count=4)
