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

from tensorvcs.torch.dataset import Batch, TensorDataset

__all__ = ["Batch", "TensorDataset"]
