"""Rank and world size: as given, and from torch.distributed in two processes."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from tensorvcs.errors import InvalidInputError  # noqa: E402
from tensorvcs.torch import TensorLoader  # noqa: E402
from tensorvcs.torch.ranks import find_rank  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    import tensorvcs as tv

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def test_what_is_given_counts() -> None:
    assert find_rank(2, 5) == (2, 5)
    assert find_rank() == (0, 1)
    for one_alone in ((1, "auto"), ("auto", 2)):
        with pytest.raises(InvalidInputError):
            find_rank(*one_alone)


def train(rank: int, file: str, checkout: Any, results: Any) -> None:
    """Average gradients with the other rank, which hangs where one has a batch more."""
    torch.distributed.init_process_group("gloo", f"file://{file}", rank=rank, world_size=2)
    loader = TensorLoader(checkout, ["images", "labels"], batch_size=9, seed=4)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(216, 1))
    seen = []
    for images, labels in loader:
        model(images.float().flatten(1)).mean().backward()
        seen += labels.tolist()
    weight = model.module.weight.grad.sum().item()
    results.put((rank, loader.rank, loader.world_size, len(loader), seen, weight))
    torch.distributed.destroy_process_group()


def test_two_processes_of_gloo_share_an_epoch(checkout: tv.Checkout, tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    context: Any = multiprocessing.get_context("forkserver")
    results = context.Queue()
    processes = [
        context.Process(target=train, args=(rank, str(tmp_path / "meeting"), checkout, results))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    try:
        found = sorted(results.get(timeout=60) for _ in processes)
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()
    assert [item[:4] for item in found] == [(0, 0, 2, 12), (1, 1, 2, 12)]
    assert sorted(found[0][4] + found[1][4]) == list(range(203))
    assert found[0][5] == found[1][5]
