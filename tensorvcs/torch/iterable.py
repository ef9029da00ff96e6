"""IterableTensorDataset: batches of a loader as an IterableDataset, for those who ask for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from tensorvcs.errors import InvalidInputError
from tensorvcs.torch.arguments import as_count
from tensorvcs.torch.loader import TensorLoader
from tensorvcs.torch.notes import leaving
from tensorvcs.torch.state import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tensorvcs.checkout.reader import Checkout
    from tensorvcs.torch.dataset import TensorDataset
    from tensorvcs.torch.loader import OnOtherData
    from tensorvcs.torch.mix import Mix

_END = object()


class IterableTensorDataset(IterableDataset[Any]):
    """The batches of a `TensorLoader`, for a DataLoader or StatefulDataLoader.

    Give it to a DataLoader with ``batch_size=None``. Worker w of W makes the batches w, w + W, and
    so on, so that their stream is the same for every number of workers.

    Parameters
    ----------
    source : Checkout, TensorDataset or Mix
    columns : str or sequence of str, optional
    **options
        As for `TensorLoader`, without `workers`. Batches are read without threads unless `threads`
        says otherwise.

    Notes
    -----
    Unlike a loader, it stays at one epoch until `set_epoch` names another, which also reaches
    worker processes that live on. The state that a StatefulDataLoader keeps of it is that of one
    worker, so that it resumes with as many workers as before.
    """

    def __init__(
        self,
        source: Checkout | TensorDataset | Mix,
        columns: Any = None,
        **options: Any,
    ) -> None:
        if options.get("workers"):
            raise InvalidInputError("the workers are those of the DataLoader; leave out workers=")
        self._loader = TensorLoader(source, columns, **{"threads": 0, **options})
        # In shared memory, so that worker processes see it change.
        self._epoch = _shared(0)
        self._at = Place(0, 0)
        self._resumed_at = 0

    def __len__(self) -> int:
        """Return the number of batches of an epoch, of all workers."""
        return len(self._loader)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the iterations to come."""
        epoch = as_count("epoch", epoch, 0)
        self._epoch.fill_(epoch)
        self._at, self._resumed_at = Place(epoch, 0), 0

    def __iter__(self) -> Iterator[Any]:
        """Return the batches of the epoch, or those of this worker."""
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        made, self._resumed_at = self._resumed_at, 0
        epoch = int(self._epoch)
        self._at = Place(epoch, made)
        return self._iterate(self._at, number, count)

    def _iterate(self, at: Place, number: int, count: int) -> Iterator[Any]:
        made = at.seen
        batches = self._loader.part(at.epoch, number + made * count, count)
        while True:
            with leaving():
                batch = next(batches, _END)
            if batch is _END:
                break
            made += 1
            self._at = Place(at.epoch, made)
            yield batch
            del batch
        self._at = Place(at.epoch + 1, 0)

    def state_dict(self) -> dict[str, Any]:
        """Return where this copy of the data set is: in a worker, where the worker is."""
        state = self._loader.state_dict()
        return {**state, "epoch": self._at.epoch, "made": self._at.seen}

    def load_state_dict(
        self, state: Mapping[str, Any], *, on_other_data: OnOtherData = "error"
    ) -> None:
        """Go on where a state was taken, as `TensorLoader.load_state_dict` does."""
        made = state.get("made")
        if not isinstance(made, int) or made < 0:
            raise InvalidInputError("not the state of an IterableTensorDataset")
        self._loader.load_state_dict(state, on_other_data=on_other_data)
        self.set_epoch(int(state["epoch"]))
        self._at, self._resumed_at = Place(int(state["epoch"]), made), made

    def __repr__(self) -> str:
        return f"<IterableTensorDataset {self._loader!r}>"


def _shared(number: int) -> torch.Tensor:
    made = torch.tensor(number)
    made.share_memory_()  # type: ignore[no-untyped-call]
    return made
