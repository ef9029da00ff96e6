"""Batches in other memory: page-locked, or of a device, copied while the one before is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def with_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return a nest of tuples, lists and dicts with its tensors changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: with_tensors(part, change) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(with_tensors(part, change) for part in value))
    if isinstance(value, (tuple, list)):
        return type(value)(with_tensors(part, change) for part in value)
    return value


def pinned(value: Any) -> Any:
    """Return a batch in page-locked memory; what is there already stays."""
    return with_tensors(value, lambda tensor: tensor if tensor.is_pinned() else tensor.pin_memory())


def on_device(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Yield batches on a device, in order.

    Parameters
    ----------
    batches : iterable
        In page-locked memory where copies to CUDA are not to wait.
    device : torch.device

    Notes
    -----
    To CUDA, the next batch is copied by a stream of its own while the one before is used; what
    uses a batch waits for its copy alone. A generator over `batches` is closed with this one.
    """
    if device.type != "cuda":
        for batch in batches:
            yield with_tensors(batch, lambda tensor: tensor.to(device))
        return
    stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    waiting: tuple[Any, Any] | None = None
    for batch in batches:
        with torch.cuda.stream(stream):
            moved = with_tensors(batch, lambda tensor: tensor.to(device, non_blocking=True))
            copied = stream.record_event()
        if waiting is not None:
            yield _ready(waiting, device)
        waiting = (moved, copied)
    if waiting is not None:
        yield _ready(waiting, device)


def _ready(waiting: tuple[Any, Any], device: torch.device) -> Any:
    batch, copied = waiting
    current = torch.cuda.current_stream(device)
    current.wait_event(copied)

    def used(tensor: torch.Tensor) -> torch.Tensor:
        # Its memory is not given to the copying stream again before this one is done with it.
        tensor.record_stream(current)
        return tensor

    return with_tensors(batch, used)
