"""What peers share: whole batches, of memory that the training loop may write to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.loaders.peers.reading import BATCH_COUNT, batched, own


def test_read_only_memory_is_copied_and_other_is_shared() -> None:
    mine = np.arange(4)
    own(mine)[0] = 7
    assert mine[0] == 7
    mine.flags.writeable = False
    own(mine)[1] = 7
    assert mine[1] == 1


class Asked:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __len__(self) -> int:
        return 2 * BATCH_COUNT + 3

    def __getitem__(self, batch: list[int]) -> torch.Tensor:
        self.batches.append(batch)
        return torch.tensor(batch)


def test_a_data_set_is_asked_for_whole_batches_of_all_places() -> None:
    dataset = Asked()
    found: list[Any] = list(batched(dataset, shuffle=True, workers=0))
    assert [len(batch) for batch in dataset.batches] == [BATCH_COUNT, BATCH_COUNT, 3]
    assert sorted(torch.cat(found).tolist()) == list(range(len(dataset)))
    assert dataset.batches[0] != list(range(BATCH_COUNT))
    dataset.batches.clear()
    list(batched(dataset, shuffle=False, workers=0))
    assert dataset.batches[0] == list(range(BATCH_COUNT))
