"""What ``tvcs history`` says of values that are not at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cli.commands.history import _document, _lines
from cli.output import Output
from tensorvcs.history.blaming.sample_history import sample_history
from tensorvcs.storage.memory import MemoryTensors
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from tensorvcs.history.blaming.sample_history import SampleHistory


def history_without_values() -> SampleHistory:
    repo = MemoryRepository()
    repo.commit(
        lambda co: co.add_ndarray_column("x", (99,), "int64").update({1: np.zeros(99, int)})
    )
    assert isinstance(repo.stores.tensors, MemoryTensors)
    repo.stores.tensors.values.clear()
    return sample_history(repo.objects, repo.nodes, repo.stores.tensors, repo.load("main"), "x", 1)


def test_lines() -> None:
    (line,) = _lines(Output(), history_without_values())
    assert line.startswith("+ ")
    assert line.endswith(" Ada: m (the values are not here)")


def test_documents() -> None:
    document = _document(next(history_without_values()))
    assert document.pop("commit")["message"] == "m"
    assert document == {"sign": "+", "before": None, "after": None, "size": None, "is_here": False}
