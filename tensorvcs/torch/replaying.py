"""What a run read, worked out again from its record: its order, and the keys of its samples."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError, with_hint
from tensorvcs.torch.dataset import TensorDataset
from tensorvcs.torch.order import BlockShuffled, InOrder, Shuffled, key_of
from tensorvcs.torch.state import Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from tensorvcs.history.difference.diff import Diff
    from tensorvcs.history.runs import Run
    from tensorvcs.objects.keys import Key
    from tensorvcs.repository import Repository
    from tensorvcs.torch.loader import TensorLoader
    from tensorvcs.torch.order import Order

CHOSEN = "chosen"
"""The field of a provenance that tells which samples of the columns were chosen."""


def provenance_of(loader: TensorLoader) -> dict[str, Any]:
    """Return the provenance of a loader with the samples that were chosen, where not all were.

    A digest tells that a subset is the same; with `CHOSEN` it can be worked out again which samples
    were in it. That takes a bit or two a sample for a random split.

    Returns
    -------
    dict
        What `TensorLoader.provenance` returns, and for a subset ``chosen``: the positions of the
        samples in key order, each as the difference to the one before, little-endian int64,
        deflated, in base64.
    """
    found = loader.provenance()
    dataset = loader.dataset
    positions = getattr(dataset, "_positions", None)
    if isinstance(dataset, TensorDataset) and positions is not None:
        chosen = np.asarray(positions[dataset.columns[0]], np.int64)
        steps = np.diff(chosen, prepend=np.int64(0)).astype("<i8")
        found[CHOSEN] = base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()
    return found


@dataclass(frozen=True, slots=True)
class RunCheck:
    """Whether a run can be worked out again.

    Attributes
    ----------
    is_data_same : bool
        The commit has the samples that the run read, by their digest.
    is_order_same : bool or None
        The order worked out again has the digest that was recorded; None where the record does
        not tell the order, as for weights that are not in it.
    samples_seen : int
    order_digest : str
        As it was recorded.
    note : str
        What is wrong, or why it cannot be told; empty when all is the same.
    """

    is_data_same: bool
    is_order_same: bool | None
    samples_seen: int
    order_digest: str
    note: str = ""

    @property
    def is_same(self) -> bool:
        """Whether data and order are those that were recorded."""
        return self.is_data_same and self.is_order_same is True


def verify_run(repository: Repository, run: Run, loader: TensorLoader | None = None) -> RunCheck:
    """Work out again what a run read, and compare it with what was recorded.

    Parameters
    ----------
    repository : Repository
    run : Run
        Of a `TensorLoader`.
    loader : TensorLoader, optional
        Made as that of the run was: for orders that follow from weights or classes, for mixes, and
        for subsets whose record does not tell which samples they had.

    Raises
    ------
    InvalidInputError
        The record is none of a `TensorLoader`.

    Notes
    -----
    About 30 ns a sample seen; reads the keys and no values.
    """
    record = run.provenance
    spans = _spans(run)
    note = ""
    order: Order | None
    if loader is None:
        order = _order(record["order"])
        is_data_same = _dataset(repository, record) is not None
        if not is_data_same:
            note = "which samples of the columns were read is not in the record"
        if order is None:
            note = f"an order of kind {record['order'].get('kind')!r} follows from more than that"
    else:
        order = loader._order
        is_data_same = loader.dataset.identity()["digest"] == record["digest"]
        if not is_data_same:
            note = "the loader reads other samples"
        if order.spelled() != record["order"]:
            order, note = None, "the loader has another order"
    is_order_same: bool | None = None
    if order is not None:
        hasher = blake2b(digest_size=16)
        for places in _places(order, int(record["seed"]), spans):
            hasher.update(places.astype("<i8").tobytes())
        is_order_same = hasher.hexdigest() == record["order_digest"]
        if not is_order_same:
            note = f"the order worked out again has the digest {hasher.hexdigest()}"
    seen = sum(span.high - span.low for span in spans)
    return RunCheck(is_data_same, is_order_same, seen, str(record["order_digest"]), note)


def seen_keys(repository: Repository, run: Run) -> list[Key] | None:
    """Return the keys of the samples that a run saw, in key order.

    Returns
    -------
    list of key, or None
        None where the record does not tell which they were; see `verify_run`.

    Raises
    ------
    InvalidInputError
        The record is none of a `TensorLoader`.

    Notes
    -----
    Memory is a byte for each sample of the commit, and the keys.
    """
    spans = _spans(run)
    order = _order(run.provenance["order"])
    dataset = _dataset(repository, run.provenance)
    if order is None or dataset is None:
        return None
    is_seen = np.zeros(len(dataset), np.bool_)
    for places in _places(order, int(run.provenance["seed"]), spans):
        is_seen[places] = True
    found: list[Key] = dataset.keys_at(np.flatnonzero(is_seen))
    return sorted(found, key=lambda key: (isinstance(key, str), key))


@dataclass(frozen=True, slots=True)
class RunDifference:
    """What two runs read differently.

    Attributes
    ----------
    diff : Diff
        From the commit of the first to that of the second, for the columns that either read.
    only_a, only_b, both : tuple of key, or None
        The samples that only the first saw, only the second, and both; None where a record does
        not tell.
    modified : mapping of str to tuple of key, or None
        By column, the samples that both saw with different values.
    """

    diff: Diff
    only_a: tuple[Key, ...] | None
    only_b: tuple[Key, ...] | None
    both: tuple[Key, ...] | None
    modified: Mapping[str, tuple[Key, ...]] | None


def diff_runs(repository: Repository, a: Run, b: Run) -> RunDifference:
    """Tell which samples one run saw and another did not, and what changed between their commits.

    Raises
    ------
    InvalidInputError
        A run is of several commits.
    """
    for run in (a, b):
        if len(run.commits) != 1:
            raise InvalidInputError(
                f"run {run.name!r} read {len(run.commits)} commits; a difference is told of one"
            )
    checkouts = [repository.checkout(run.commits[0]) for run in (a, b)]
    names = {str(name) for run in (a, b) for name in run.provenance.get("columns", ())} or {
        name for checkout in checkouts for name in checkout
    }
    known = sorted(name for name in names if any(name in checkout for checkout in checkouts))
    diff = repository.diff(a.commits[0], b.commits[0], columns=known)
    keys_a, keys_b = (
        seen_keys(repository, run) if "order" in run.provenance else None for run in (a, b)
    )
    if keys_a is None or keys_b is None:
        return RunDifference(diff, None, None, None, None)
    in_a, in_b = set(keys_a), set(keys_b)
    both = tuple(key for key in keys_a if key in in_b)
    shared = in_a & in_b
    modified = {
        name: found
        for name, column in diff.columns.items()
        if (found := tuple(key for key in column.modified if key in shared))
    }
    return RunDifference(
        diff,
        tuple(key for key in keys_a if key not in in_b),
        tuple(key for key in keys_b if key not in in_a),
        both,
        modified,
    )


def _spans(run: Run) -> list[Span]:
    record = run.provenance
    lacking = [name for name in ("seed", "order", "order_digest", "history") if name not in record]
    if lacking:
        raise with_hint(
            InvalidInputError(
                f"run {run.name!r} has no record of what a loader read: it lacks "
                f"{', '.join(lacking)}"
            ),
            "record what TensorLoader.provenance() returns",
        )
    try:
        int(record["seed"])
        dict(record["order"])
        str(record["order_digest"])
        return [Span(*map(int, span)) for span in record["history"]]
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"the record of run {run.name!r} cannot be read: {error}"
        ) from error


def _order(spelled: Mapping[str, Any]) -> Order | None:
    """Return the order that a record spells; None where it follows from more than that."""
    kind, count = spelled.get("kind"), int(spelled.get("count", 0))
    if kind == "in order":
        return InOrder(count)
    if kind == "shuffled":
        return Shuffled(count)
    if kind == "blocks":
        return BlockShuffled(count, int(spelled["block_count"]), int(spelled["window"]))
    return None


def _dataset(repository: Repository, record: Mapping[str, Any]) -> TensorDataset | None:
    """Return the samples of a record; None where it does not tell which they were."""
    if not isinstance(record.get("commit"), str):
        return None
    checkout = repository.checkout(record["commit"])
    columns = [str(name) for name in record["columns"]]
    if not all(name in checkout for name in columns):
        return None
    keys: list[Key] | None = None
    if CHOSEN in record:
        try:
            steps = zlib.decompress(base64.b64decode(record[CHOSEN], validate=True))
            places = np.cumsum(np.frombuffer(steps, "<i8"))
        except (ValueError, TypeError, zlib.error) as error:
            raise InvalidInputError(f"the chosen samples cannot be read: {error}") from error
        count = len(checkout[columns[0]])
        if len(places) and not (places.min() >= 0 and places.max() < count):
            raise InvalidInputError(f"a chosen sample is outside of the {count} there are")
        every = list(checkout[columns[0]])
        keys = [every[place] for place in places.tolist()]
    try:
        dataset = TensorDataset(checkout, columns, keys=keys)
    except InvalidInputError:
        # The columns have different keys, so that only a subset can have been read.
        return None
    return dataset if dataset.identity()["digest"] == record.get("digest") else None


def _places(order: Order, seed: int, spans: list[Span]) -> Iterator[NDArray[np.int64]]:
    for span in spans:
        key = key_of(seed, span.epoch)
        for positions in span.pieces():
            if span.high > order.count or span.low < 0:
                raise InvalidInputError(
                    f"positions {span.low} to {span.high} are outside of an epoch of {order.count}"
                )
            yield order.places(positions, key)
