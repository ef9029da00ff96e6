"""How PyTorch reads a checkout. Needs the extra `torch`.

Terms
-----
sample : one key with its value in each chosen column.
batch : many samples, each column stacked into one tensor.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    from tensorvcs.errors import MissingDependencyError

    raise MissingDependencyError("torch", "torch", "tensorvcs.torch") from error

from tensorvcs.torch.collate import AsList, Pad, Padded, Ragged, RaggedBatch, Stack
from tensorvcs.torch.dataset import Batch, TensorDataset
from tensorvcs.torch.iterable import IterableTensorDataset
from tensorvcs.torch.loader import TensorLoader
from tensorvcs.torch.mix import Mix
from tensorvcs.torch.order import spread
from tensorvcs.torch.replaying import (
    RunCheck,
    RunDifference,
    diff_runs,
    seen_keys,
    verify_run,
)
from tensorvcs.torch.sampling import Balanced, Block, Weighted
from tensorvcs.torch.stats import LoaderStats

__all__ = [
    "AsList",
    "Balanced",
    "Batch",
    "Block",
    "IterableTensorDataset",
    "LoaderStats",
    "Mix",
    "Pad",
    "Padded",
    "Ragged",
    "RaggedBatch",
    "RunCheck",
    "RunDifference",
    "Stack",
    "TensorDataset",
    "TensorLoader",
    "Weighted",
    "diff_runs",
    "seen_keys",
    "spread",
    "verify_run",
]
