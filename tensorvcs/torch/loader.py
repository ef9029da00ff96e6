"""TensorLoader: batches of a checkout, gathered by threads ahead of the training loop."""

from __future__ import annotations

import os
import warnings
from collections import deque
from contextlib import closing
from hashlib import blake2b
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from tensorvcs.checkout.editor import EditableCheckout
from tensorvcs.errors import InvalidInputError, OtherDataError, with_hint
from tensorvcs.torch.arguments import as_count, check_seconds
from tensorvcs.torch.buffers import FRESH_MEMORY, Buffers, PinnedMemory
from tensorvcs.torch.dataset import TensorDataset
from tensorvcs.torch.making import VALID, BatchMaker
from tensorvcs.torch.mix import Mix
from tensorvcs.torch.order import key_of
from tensorvcs.torch.placing import on_device, pinned
from tensorvcs.torch.ranks import find_rank
from tensorvcs.torch.reading import read_plans
from tensorvcs.torch.sampling import order_for, spell_sampler
from tensorvcs.torch.state import History, LoaderState, Place
from tensorvcs.torch.stats import Tally
from tensorvcs.torch.steps import Steps
from tensorvcs.torch.transforms import Transforms
from tensorvcs.torch.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from tensorvcs.checkout.reader import Checkout
    from tensorvcs.objects.keys import Key
    from tensorvcs.torch.collate import Collate
    from tensorvcs.torch.making import Plan
    from tensorvcs.torch.order import Order
    from tensorvcs.torch.reading import Result
    from tensorvcs.torch.sampling import Block, Sampler
    from tensorvcs.torch.stats import LoaderStats
    from tensorvcs.torch.steps import Last, Share
    from tensorvcs.torch.transforms import Transform

_MAX_THREADS = 4

Context = Literal["forkserver", "spawn", "fork"]

OnOtherData = Literal["error", "warn", "ignore"]

# What an order takes from the samples, and not from how it was asked for.
_OF_SAMPLES = frozenset({"count", "weights", "classes", "sizes"})


class TensorLoader:
    """Batches of a checkout for training, in an order that is remembered.

    Each iteration is one epoch, and the next one has the next number; `set_epoch` names another.
    Batches are tuples of tensors in the order of the columns, dicts with `as_dict`, or the tensor
    alone when `columns` is one name.

    Parameters
    ----------
    source : Checkout, TensorDataset or Mix
        What to read. Of a data set its columns, keys, layout and transform are taken.
    columns : str or sequence of str, optional
        As for `TensorDataset`.
    batch_size : int
        Samples of this rank in a step.
    shuffle : bool or Block
        Permute all samples, or blocks of neighbours; see `Block`.
    sampler : Weighted or Balanced, optional
        Draw samples by weight, or evenly from classes.
    seed : int
        Of the order, and of what transforms are given as ``rng``.
    rank, world_size : int or "auto"
        Which part of each step is read here. "auto" asks torch.distributed when it is initialised,
        and is 0 of 1 otherwise.
    replicate : int
        So many ranks in a row read the same samples, such as those that hold the parts of one
        model; the number of ranks is a multiple of it.
    drop_last : bool
        The same as ``last="drop"``.
    last : {"short", "drop", "wrap", "pad"}
        What becomes of samples that do not fill a step; see Notes.
    keys : sequence of key, optional
        Only these samples of a checkout.
    as_dict : bool
        Batches as dicts by column name.
    transform : callable or mapping of column to callable, optional
        Of each sample, or of each value of a column; with a parameter ``rng`` it is given a numpy
        Generator that depends on seed, epoch and key alone.
    batch_transform : callable or mapping of column to callable, optional
        Of each batch, or of a column of it, such as a torch.nn.Module; a parameter ``rngs`` is
        given a sequence of generators.
    collate : callable or mapping of column to callable, optional
        Of the list of samples, or of the values of a column: `Pad`, `Ragged`, `Stack`, `AsList`
        or your own. Without it values of one shape are stacked and others are a list.
    threads : int, optional
        Which read and transform ahead; 0 does it in the loop itself. As many as there are cores,
        up to 4, when omitted; small samples without transforms are then read in the loop, in
        parallel, as long as it does nothing else between batches.
    prefetch : int
        Batches that are ready ahead, beside those that the threads work on.
    workers : int
        Processes that read and transform instead of threads, for transforms that are pure Python.
        `transform` and the others must be picklable then, unless `context` is fork. What they
        raise there comes as it is where it can be pickled; what cannot be sent, and the end of a
        process, is a WorkerError.
    context : {"forkserver", "spawn", "fork"}
        How processes are started.
    timeout : float, optional
        Seconds that a batch may take.
    reuse_buffers : bool
        Fill memory again that nothing refers to any more. A batch that is kept is never changed.
    pin_memory : bool
        Batches in page-locked memory; without effect where there is no CUDA.
    device : str or torch.device, optional
        Batches on a device. To CUDA they go through page-locked memory, one ahead.

    Raises
    ------
    InvalidInputError, ColumnNotFoundError, SampleNotFoundError
        Arguments that do not fit the samples or each other.

    Notes
    -----
    All ranks share one order, which depends on the samples, `shuffle`, `sampler`, seed and epoch
    alone, and not on the machine, the ranks, threads or processes. A step takes the next
    ``batch_size * world_size / replicate`` of it, and every rank has the same number of steps.
    What is left at the end: "short" shares it out evenly in one more step, or adds it to the step
    before when it is not one sample each; "drop" leaves it out; "wrap" fills the step from the
    beginning of the epoch; "pad" does so too, and adds the column ``_valid`` that is False for
    what is filled in.

    Threads and processes end with the iteration, also when it is dropped in the middle; processes
    that may serve the next epoch end with the loader, or with `close`.

    A loader is used by one thread. It may be pickled, and used in a forked child. Several
    iterations may be under way where threads read; worker processes serve one, and an earlier one
    that is taken up again raises StateError.
    """

    def __init__(
        self,
        source: Checkout | TensorDataset | Mix,
        columns: str | Sequence[str] | None = None,
        *,
        batch_size: int,
        shuffle: bool | Block = True,
        sampler: Sampler | None = None,
        seed: int = 0,
        rank: int | Literal["auto"] = "auto",
        world_size: int | Literal["auto"] = "auto",
        replicate: int = 1,
        drop_last: bool = False,
        last: Last | None = None,
        keys: Sequence[Key] | None = None,
        as_dict: bool = False,
        transform: Transform | None = None,
        batch_transform: Transform | None = None,
        collate: Collate | Mapping[str, Collate] | None = None,
        threads: int | None = None,
        prefetch: int = 2,
        workers: int = 0,
        context: Context = "forkserver",
        timeout: float | None = None,
        reuse_buffers: bool = True,
        pin_memory: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        samples, own_transform = _samples_of(source, columns, keys, as_dict=as_dict)
        if own_transform is not None and transform is not None:
            raise InvalidInputError("the data set has a transform already; name one of the two")
        if drop_last and last not in {None, "drop"}:
            raise InvalidInputError(f"drop_last and last={last!r} exclude each other")
        if last == "pad" and samples.layout_name == "value":
            raise InvalidInputError(f"{VALID} needs a tuple or a dict: give the columns as a list")
        if timeout is not None:
            check_seconds("timeout", timeout)
        if context not in get_args(Context):
            raise InvalidInputError(
                f"context is one of {', '.join(get_args(Context))}, not {context!r}"
            )
        self.dataset = samples
        self.batch_size = as_count("batch_size", batch_size, 1)
        self.seed = seed = as_count("seed", seed)
        self._ranks = (rank, world_size)
        self._replicate = as_count("replicate", replicate, 1)
        self._last: Last = last or ("drop" if drop_last else "short")
        if isinstance(samples, Mix):
            if sampler is not None or shuffle is not True:
                raise InvalidInputError("a mix has an order of its own: leave out the others")
            self._order: Order = samples.order()
        else:
            self._order = order_for(samples, shuffle, sampler)
        self._threads = (
            min(_MAX_THREADS, len(os.sched_getaffinity(0)))
            if threads is None
            else as_count("threads", threads, 0)
        )
        self._prefetch = as_count("prefetch", prefetch, 0)
        self._timeout = timeout
        self._device = None if device is None else _device_of(device)
        has_cuda = torch.cuda.is_available()
        self._pins = has_cuda and (pin_memory or getattr(self._device, "type", "") == "cuda")
        transforms = Transforms(transform or own_transform, batch_transform, collate)
        columns_read = [*samples.columns, VALID] if self._last == "pad" else samples.columns
        transforms.check(columns_read)
        self._may_read_itself = (
            threads is None
            and timeout is None
            and transforms.are_none
            and isinstance(samples, TensorDataset)
            and samples.is_stacked
        )
        memory = PinnedMemory() if self._pins else Buffers() if reuse_buffers else FRESH_MEMORY
        self._maker = BatchMaker(
            samples,
            self._order,
            seed,
            transforms,
            memory,
            marks_padding=self._last == "pad",
            repeats=sampler is not None or isinstance(samples, Mix),
        )
        self._worker_options = (as_count("workers", workers, 0), context)
        self._workers: Workers | None = None
        self._data = samples.identity()
        self._next = self._place = Place(0, 0)
        self._history = History()
        self._earlier: tuple[Mapping[str, Any], ...] = ()
        self._sampler = spell_sampler(sampler)
        self._tally = Tally()
        self._steps(0)  # arguments that do not fit are told now, not in the first epoch

    # What it reads

    @property
    def rank(self) -> int:
        """Which of the processes that train together this is."""
        return find_rank(*self._ranks)[0]

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return find_rank(*self._ranks)[1]

    def _steps(self, start: int) -> Steps:
        rank, world_size = find_rank(*self._ranks)
        each = self._replicate
        if world_size % each:
            raise InvalidInputError(
                f"{world_size} ranks cannot be shared out in groups of {each} that read the same"
            )
        return Steps(
            self._order.count, self.batch_size, rank // each, world_size // each, self._last, start
        )

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        return len(self._steps(0))

    @property
    def epoch(self) -> int:
        """The number of the epoch that the next iteration reads."""
        return self._next.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, and with it the order.

        When a state was loaded in the middle of this very epoch, the iteration still goes on
        there.
        """
        epoch = as_count("epoch", epoch, 0)
        if epoch != self._next.epoch:
            self._next = Place(epoch, 0)
        self._place = self._next

    # Iterating

    def __iter__(self) -> Iterator[Any]:
        """Return the batches of the next epoch; of what is left of it, when a state was loaded."""
        place = self._place = self._next
        self._next = Place(place.epoch + 1, 0)
        return self._iterate(place)

    def _iterate(self, place: Place) -> Generator[Any, None, None]:
        steps = self._steps(place.seen)
        stop, following = self._end_of(steps), Place(place.epoch + 1, 0)
        plans = self._maker.plans(place.epoch, steps)
        with closing(self._results(place.epoch, plans)) as results:
            shares: deque[Share] = deque()
            batches: Iterator[Any] = self._batches(results, shares)
            if self._device is not None:
                batches = on_device(batches, self._device)
            left, seen, tally = perf_counter(), place.seen, self._tally
            for batch in batches:
                share = shares.popleft()
                self._history.add(place.epoch, seen, share.seen)
                seen = share.seen
                self._place = Place(place.epoch, seen) if seen < stop else following
                came = perf_counter()
                yield batch
                del batch
                now = perf_counter()
                tally.batch_count += 1
                tally.sample_count += len(share)
                tally.waiting_seconds += came - left
                tally.consuming_seconds += now - came
                left = now
        self._place = following

    @staticmethod
    def _end_of(steps: Steps) -> int:
        """Return how many positions were given out after the last step."""
        return steps.share(len(steps) - 1).seen if len(steps) else steps.total

    def _batches(self, results: Iterable[Result], shares: deque[Share]) -> Iterator[Any]:
        """Yield the batches of results; their shares are put in line beside them."""
        for result_shares, made in results:
            self._tally.made(made)
            batches = made.batches
            batches.reverse()
            for share in result_shares:
                # Handed over, not kept: so that the memory comes back when the loop drops it.
                shares.append(share)
                batch = batches.pop()
                yield pinned(batch) if self._pins else batch
                del batch

    def part(self, epoch: int, first: int, stride: int) -> Iterator[Any]:
        """Return every `stride`-th batch of an epoch, from the step `first` on.

        For those who share out the steps of this rank among processes; see
        `IterableTensorDataset`. It leaves the state of the loader as it is.
        """
        steps = self._steps(0)
        plans = self._maker.plans(epoch, steps, range(first, len(steps), stride))
        with closing(self._results(epoch, plans, is_timed=False)) as results:
            yield from self._batches(results, deque())

    def _results(
        self, epoch: int, plans: Iterator[tuple[Plan, int]], *, is_timed: bool = True
    ) -> Generator[Result, None, None]:
        count, context = self._worker_options
        if not count:
            may_be_idle = is_timed and self._may_read_itself
            yield from read_plans(
                plans,
                threads=self._threads,
                prefetch=self._prefetch,
                timeout=self._timeout,
                busy_seconds=self._busy_seconds if may_be_idle else None,
            )
            return
        if self._workers is None:
            depth = -(-self._prefetch // count)
            self._workers = Workers(self._maker, count, context, depth, self._timeout)
        asked: deque[Sequence[Share]] = deque()

        def requests() -> Iterator[tuple[int, Sequence[Share]]]:
            for plan, at_a_time in plans:
                for first in range(0, len(plan.shares), at_a_time):
                    shares = plan.shares[first : first + at_a_time]
                    asked.append(shares)
                    yield epoch, shares

        for made in self._workers.run(requests()):
            yield asked.popleft(), made

    def _busy_seconds(self) -> float:
        return self._tally.consuming_seconds

    # State

    def state_dict(self) -> dict[str, Any]:
        """Return where the run is, as plain values: to be kept in a checkpoint.

        Taken in the loop it counts the batch that the loop has, so a run that resumes goes on with
        the next. It is the same on all ranks. After the last batch of an epoch it is the beginning
        of the next.
        """
        order, data, spans = self._order.spelled(), self._data, self._history.spans
        return LoaderState(self._place, self.seed, order, data, spans, self._earlier).to_dict()

    def load_state_dict(
        self, state: Mapping[str, Any], *, on_other_data: OnOtherData = "error"
    ) -> None:
        """Go on where a state was taken, exact to the sample, in the next iteration.

        The number of ranks, threads and workers and the batch size may be others.

        Parameters
        ----------
        state : mapping
            What `state_dict` returned.
        on_other_data : {"error", "warn", "ignore"}
            What happens when the state is of other samples, as of a later commit: an error; or the
            run goes on at the same position of the same epoch, with a UserWarning or without. The
            order is then that of the samples of now, so that in this one epoch a sample may come
            twice or not at all. What was seen before is in `provenance` under ``earlier``.

        Raises
        ------
        OtherDataError
            The state is of another order or seed, or, unless `on_other_data` says otherwise, of
            other samples; nothing has changed. It is of the same samples where the columns that
            are read have the same content, whatever the commit and wherever the repository.
        InvalidInputError
            It is no state of a loader.
        """
        if on_other_data not in get_args(OnOtherData):
            raise InvalidInputError(
                f"on_other_data is one of {', '.join(get_args(OnOtherData))}, not {on_other_data!r}"
            )
        loaded = LoaderState.from_dict(state)
        is_other = loaded.data.get("digest") != self._data["digest"]
        told = ""
        if is_other and on_other_data != "ignore":
            found = self.dataset.difference(loaded.data)
            told = f"the state was made with other samples: {found}"
            if on_other_data == "error":
                raise with_hint(
                    OtherDataError(told),
                    "check out the commit that the state names, or begin a new run without the "
                    "state; on_other_data='warn' goes on with these samples",
                )
        self._check_order(loaded, is_other=is_other)
        place, count = loaded.place, self._order.count
        if is_other and place.seen > count:
            place = Place(place.epoch + 1, 0)
        if not 0 <= place.seen <= count or place.epoch < 0:
            raise InvalidInputError(
                f"the state is at position {place.seen} of {count} in epoch {place.epoch}"
            )
        self._next = self._place = place
        self._history = History(() if is_other else loaded.history)
        self._earlier = (*loaded.earlier, loaded.to_earlier()) if is_other else loaded.earlier
        if told:
            warnings.warn(
                f"{told}; the run goes on with them at position {place.seen} of epoch "
                f"{place.epoch}",
                stacklevel=2,
            )

    def _check_order(self, loaded: LoaderState, *, is_other: bool) -> None:
        """Raise OtherDataError for the state of another order than this one."""
        # Of other samples, an order differs in what it takes from them.
        left_out = _OF_SAMPLES if is_other else frozenset[str]()
        then, now = (
            {name: value for name, value in order.items() if name not in left_out}
            for order in (loaded.order, self._order.spelled())
        )
        for name, theirs, ours in (("seed", loaded.seed, self.seed), ("order", then, now)):
            if theirs != ours:
                raise OtherDataError(
                    f"the state was made with another order: its {name} is {theirs}, here {ours}"
                )

    def provenance(self) -> dict[str, Any]:
        """Return what the model saw, as plain values: to be kept with it.

        Returns
        -------
        dict
            ``commit``, ``columns`` and ``digest`` of the samples, and for a part of those of the
            columns ``chosen``, as `TensorDataset.record` gives it, of a mix by part;
            ``transforms`` by name; ``seed``, ``order``, ``epoch`` and ``seen`` as in the state;
            ``sampler``, the column that it follows, where it follows one; ``samples_seen``, by
            all ranks; ``history``, triples of epoch and positions; ``order_digest``: BLAKE2b of
            the places that were given out, in order, as little-endian int64; and ``earlier``, the
            same of other samples where the run began with others. All of it takes less than
            600 KiB as JSON, beside the history and the names.

        Notes
        -----
        Works out the order again, about 30 ns a sample seen.
        """
        spans = self._history.spans
        hasher = blake2b(digest_size=16)
        for span in spans:
            key = key_of(self.seed, span.epoch)
            for positions in span.pieces():
                hasher.update(self._order.places(positions, key).astype("<i8").tobytes())
        state = self.state_dict()
        return {
            **self.dataset.record(),
            "transforms": self._maker.transforms.names(),
            **{name: state[name] for name in ("seed", "order", "epoch", "seen", "history")},
            "samples_seen": sum(span.high - span.low for span in spans),
            "order_digest": hasher.hexdigest(),
            **self._sampler,
            **({"earlier": [dict(part) for part in self._earlier]} if self._earlier else {}),
        }

    @property
    def stats(self) -> LoaderStats:
        """What was given out since the loader was made, and where the time went."""
        return self._tally.stats()

    def close(self) -> None:
        """End the worker processes; another iteration starts them again."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_workers": None}

    def __repr__(self) -> str:
        rank, world_size = find_rank(*self._ranks)
        part = f", rank {rank} of {world_size}" if world_size > 1 else ""
        return (
            f"<TensorLoader of {self._order.count} samples in batches of {self.batch_size}{part}: "
            f"{', '.join(self.dataset.columns)}; at sample {self._place.seen} of epoch "
            f"{self._place.epoch}>"
        )


def _samples_of(
    source: Checkout | TensorDataset | Mix,
    columns: str | Sequence[str] | None,
    keys: Sequence[Key] | None,
    *,
    as_dict: bool,
) -> tuple[Any, Any]:
    """Return what to read, and the transform that it has itself."""
    parts = list(source.parts.values()) if isinstance(source, Mix) else [source]
    if any(isinstance(getattr(p, "checkout", p), EditableCheckout) for p in parts):
        raise with_hint(
            InvalidInputError("a loader reads one commit, and what is edited has none yet"),
            "commit the changes and pass repo.checkout(); a TensorDataset can show them",
        )
    if isinstance(source, (TensorDataset, Mix)):
        if columns is not None or keys is not None or as_dict:
            raise InvalidInputError("columns, keys and as_dict are those of the data set")
        return source, getattr(source, "transform", None)
    return TensorDataset(source, columns, as_dict=as_dict, keys=keys), None


def _device_of(device: str | torch.device) -> torch.device:
    """Return a device; raise InvalidInputError for one that torch does not know or has not here."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidInputError(f"torch knows no device {device!r}") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InvalidInputError(f"torch finds no CUDA here for the device {str(found)!r}")
    return found
