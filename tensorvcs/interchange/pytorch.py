"""Columns as torch tensors without a copy, and torch datasets as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError, MissingDependencyError, with_hint
from tensorvcs.interchange.samples import import_samples
from tensorvcs.objects.dtype import DTYPE_NAMES, dtype_from_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    from tensorvcs.checkout.column import Column
    from tensorvcs.display.progress import Shown
    from tensorvcs.formats.importing import ImportReport, Target
    from tensorvcs.formats.interfaces import Progress
    from tensorvcs.objects.keys import Key

VALUE = "values"
"""The column of a dataset whose samples are neither tuples nor dicts."""

_LOADED_AT_ONCE = 32


def to_torch(
    column: Column, start: int = 0, stop: int | None = None, *, copy: bool | None = None
) -> torch.Tensor:
    """Return the values at a range of positions as one tensor.

    Parameters
    ----------
    column : Column
        Of one fixed shape.
    start, stop : int, optional
        As in a slice; the whole column when omitted.
    copy : bool or None
        None for the memory map of the pack where the values lie in it as they are, and a copy
        elsewhere; True for a copy; False for the memory map or an error.

    Returns
    -------
    torch.Tensor, shape (n, *shape), dtype of the column

    Raises
    ------
    InvalidInputError
        The shapes vary; or `copy` is False and the values can only be had as a copy.
    SchemaMismatchError
        torch has no such dtype.
    SlabChecksumError, PackDamagedError
        Stored bytes are not what was stored.
    MissingDependencyError
        torch is not installed.

    Notes
    -----
    torch knows no read-only tensors. The map is therefore private to the tensor: a write is seen
    through this tensor alone, costs a copy of its page of 4 KiB, and never reaches the
    repository.
    """
    _require_torch("a tensor")
    from tensorvcs.torch.convert import to_torch as share

    if not column.schema.is_fixed_shape:
        raise with_hint(
            InvalidInputError(
                f"column {column.name!r} of {column.schema.spelling} has no one shape to stack"
            ),
            "TensorDataset gives its values one by one",
        )
    view = None if copy is True else column.view(start, stop, is_private=True)
    if view is None:
        if copy is False:
            raise with_hint(
                InvalidInputError(
                    f"column {column.name!r} of {column.schema.spelling} cannot be had without a "
                    "copy: its values do not lie behind each other as they are"
                ),
                "copy=None takes the memory map where there is one and a copy elsewhere",
            )
        view = np.asarray(column[start:stop])
    return share(view)


def from_torch_dataset(
    dataset: Any,
    target: Target,
    columns: str | Sequence[str] | None = None,
    *,
    keys: Sequence[Key] | None = None,
    variable_shape: Sequence[str] = (),
    class_names: Mapping[str, Sequence[str]] | None = None,
    workers: int = 0,
    progress: Shown[Progress] = None,
) -> ImportReport:
    """Stage all samples of a torch dataset.

    After a commit ``TensorDataset(repo.checkout(), list(report.sample_counts))`` has the same
    samples at the same places, when `keys` are in key order, as the default ones are.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Map-style (``__len__`` and ``__getitem__``) or iterable. A sample is a tensor, an ndarray, a
        number, a text, bytes or a picture of Pillow; or a tuple, list or dict of them.
    target : editable checkout or transaction
        Columns that are not there are created.
    columns : str or sequence of str, optional
        The names of the parts of a tuple, in order, or those of a dict to take. When omitted, all
        keys of a dict; ``values`` for samples of one value. A tuple needs names.
    keys : sequence of key, optional
        Of the samples, in order; 0, 1, … when omitted.
    variable_shape : sequence of str
        The columns whose shapes differ from sample to sample.
    class_names : mapping of str to sequence of str, optional
        For columns of class numbers, the names of the classes, such as ``{"labels":
        dataset.classes}``.
    workers : int
        Processes that call the dataset, as ``num_workers`` of a DataLoader; map-style only.
    progress : callable or True, optional
        Called with samples done and the total.

    Returns
    -------
    ImportReport
        `sample_counts` has the columns in the order of the sample.

    Raises
    ------
    InvalidInputError
        Samples that no column holds, names that do not fit, or too few keys.
    SchemaMismatchError
        A sample differs from the first ones in dtype or shape; what came before stays staged.
    MissingDependencyError
        torch is not installed.

    Notes
    -----
    Each sample is taken once, in order, in blocks of a few megabytes.
    """
    torch = _require_torch("reading a torch dataset")
    count = len(dataset) if hasattr(dataset, "__len__") else None
    is_iterable = isinstance(dataset, torch.utils.data.IterableDataset)
    if is_iterable and workers:
        raise InvalidInputError("an iterable dataset is read in one process; workers is for others")
    if keys is not None and count is not None and len(keys) != count:
        raise InvalidInputError(f"{count} samples came with {len(keys)} keys")
    samples: Iterable[Any] = dataset
    if not is_iterable:
        samples = _in_order(torch, dataset, workers)
    pairs = _with_keys((_fields(sample, columns) for sample in samples), keys)
    return import_samples(
        target,
        pairs,
        source="the dataset",
        variable_shape=variable_shape,
        class_names=class_names,
        count=count,
        progress=progress,
    )


def _in_order(torch: Any, dataset: Any, workers: int) -> Iterator[Any]:
    """Yield the samples of a map-style dataset, taken by processes where that was asked for."""
    if not workers:
        for place in range(len(dataset)):
            yield dataset[place]
        return
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=_LOADED_AT_ONCE, collate_fn=list, num_workers=workers
    )
    for batch in loader:
        yield from batch


def _with_keys(
    samples: Iterable[dict[str, Any]], keys: Sequence[Key] | None
) -> Iterator[tuple[Key, dict[str, Any]]]:
    if keys is None:
        yield from enumerate(samples)
        return
    place = -1
    for place, sample in enumerate(samples):
        if place >= len(keys):
            raise InvalidInputError(f"there are more samples than the {len(keys)} keys")
        yield keys[place], sample
    if place + 1 != len(keys):
        raise InvalidInputError(f"{place + 1} samples came with {len(keys)} keys")


def _fields(sample: Any, columns: str | Sequence[str] | None) -> dict[str, Any]:
    """Return a sample as values by column."""
    names = [columns] if isinstance(columns, str) else columns
    if isinstance(sample, dict):
        if names is None:
            names = [str(name) for name in sample]
        absent = [name for name in names if name not in sample]
        if absent:
            raise InvalidInputError(
                f"a sample has no field {absent[0]!r}; it has {', '.join(map(str, sample))}"
            )
        return {name: _plain(sample[name]) for name in names}
    if isinstance(sample, (tuple, list)):
        if names is None or len(names) != len(sample):
            raise with_hint(
                InvalidInputError(
                    f"a sample has {len(sample)} parts, and there are "
                    f"{0 if names is None else len(names)} names of columns"
                ),
                'name them in order, such as columns=["images", "labels"]',
            )
        return {name: _plain(part) for name, part in zip(names, sample, strict=True)}
    if names is not None and len(names) != 1:
        raise InvalidInputError(f"a sample is one value, and there are {len(names)} columns")
    return {VALUE if names is None else names[0]: _plain(sample)}


def _plain(value: Any) -> Any:
    """Return a tensor as an ndarray of the same dtype; anything else as it is."""
    torch = _require_torch("a tensor")
    if not isinstance(value, torch.Tensor):
        return value
    return array_of_tensor(value)


def array_of_tensor(tensor: torch.Tensor) -> NDArray[Any]:
    """Return the numbers of a tensor as an ndarray, bit for bit.

    Raises
    ------
    InvalidInputError
        No column holds its dtype, or it is sparse.
    """
    import torch

    name = str(tensor.dtype).removeprefix("torch.")
    if name not in DTYPE_NAMES or tensor.layout != torch.strided:
        raise InvalidInputError(f"no column holds tensors of {tensor.dtype}, {tensor.layout}")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if name.startswith(("bfloat", "float8")):
        bits = torch.int16 if name == "bfloat16" else torch.uint8
        found: NDArray[Any] = plain.view(bits).numpy().view(dtype_from_name(name))
        return found
    array: NDArray[Any] = plain.numpy()
    return array


def _require_torch(purpose: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", "torch", purpose) from error
    return torch
