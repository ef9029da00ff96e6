"""What a run read, worked out again from its record: its order, and the keys of its samples."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError, NotFoundError, with_hint
from tensorvcs.torch.chosen import SplitPart, read_positions
from tensorvcs.torch.dataset import TensorDataset
from tensorvcs.torch.mix import Mix, MixedOrder
from tensorvcs.torch.order import BlockShuffled, InOrder, Shuffled, key_of
from tensorvcs.torch.sampling import Balanced, Weighted
from tensorvcs.torch.state import Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from tensorvcs.history.difference.diff import ColumnDiff, Diff
    from tensorvcs.history.runs import Run
    from tensorvcs.objects.keys import Key
    from tensorvcs.repository import Repository
    from tensorvcs.torch.loader import TensorLoader
    from tensorvcs.torch.order import Order

Samples = TensorDataset | Mix

_SAMPLERS: dict[str, type[Weighted] | type[Balanced]] = {"weighted": Weighted, "balanced": Balanced}


@dataclass(frozen=True, slots=True)
class RunCheck:
    """Whether a run can be worked out again.

    Attributes
    ----------
    is_data_same : bool
        The commit has the samples that the run read, by their digest.
    is_order_same : bool or None
        The order worked out again has the digest that was recorded; None where the record does
        not tell the order, as for weights that are not those of a column.
    samples_seen : int
    order_digest : str
        As it was recorded.
    note : str
        What is wrong, or why it cannot be told, or what was left out; empty otherwise.
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
        Made as that of the run was: for orders that follow from weights or classes that are in no
        column, and for subsets so large that the record does not tell which samples they had.

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
        samples = _samples(repository, record)
        order = _order(record, samples)
        is_data_same = samples is not None
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
    earlier = sum(int(part["samples_seen"]) for part in record.get("earlier", ()))
    if earlier and not note:
        note = f"the run began on other samples; the {earlier} seen of those are not looked at"
    return RunCheck(is_data_same, is_order_same, seen, str(record["order_digest"]), note)


def seen_keys(repository: Repository, run: Run) -> list[Key] | None:
    """Return the keys of the samples that a run saw, in key order; of a mix those of all parts.

    Returns
    -------
    list of key, or None
        None where the record does not tell which they were; see `verify_run`. Of a run that began
        on other samples, those since.

    Raises
    ------
    InvalidInputError
        The record is none of a `TensorLoader`.

    Notes
    -----
    Memory is a byte for each sample of the commit, and the keys.
    """
    spans = _spans(run)
    samples = _samples(repository, run.provenance)
    order = _order(run.provenance, samples)
    if order is None or samples is None:
        return None
    is_seen = np.zeros(len(samples), np.bool_)
    for places in _places(order, int(run.provenance["seed"]), spans):
        is_seen[places] = True
    found: set[Key] = set(samples.keys_at(np.flatnonzero(is_seen)))
    return sorted(found, key=lambda key: (isinstance(key, str), key))


@dataclass(frozen=True, slots=True)
class RunDifference:
    """What two runs read differently.

    Attributes
    ----------
    diff : Diff or None
        From the commit of the first to that of the second, for the columns that either read; None
        where a run read several commits.
    only_a, only_b, both : tuple of key, or None
        The samples that only the first saw, only the second, and both; None where a record does
        not tell.
    modified : mapping of str to tuple of key, or None
        By column, the samples that both saw with different values; None where a record does not
        tell, or a run read several commits.
    """

    diff: Diff | None
    only_a: tuple[Key, ...] | None
    only_b: tuple[Key, ...] | None
    both: tuple[Key, ...] | None
    modified: Mapping[str, tuple[Key, ...]] | None


def diff_runs(repository: Repository, a: Run, b: Run) -> RunDifference:
    """Tell which samples one run saw and another did not, and what changed meanwhile."""
    diff = _diff(repository, a, b)
    keys_a, keys_b = (
        seen_keys(repository, run) if "order" in run.provenance else None for run in (a, b)
    )
    if keys_a is None or keys_b is None:
        return RunDifference(diff, None, None, None, None)
    in_a, in_b = set(keys_a), set(keys_b)
    both = tuple(key for key in keys_a if key in in_b)
    modified = None
    if diff is not None:
        shared = in_a & in_b
        modified = {
            name: found
            for name, column in diff.columns.items()
            if (found := tuple(key for key in _samples_of(column) if key in shared))
        }
    return RunDifference(
        diff,
        tuple(key for key in keys_a if key not in in_b),
        tuple(key for key in keys_b if key not in in_a),
        both,
        modified,
    )


def _diff(repository: Repository, a: Run, b: Run) -> Diff | None:
    """Return what changed between the commits of two runs; None where one read several."""
    # One that began on other samples names their commits too, after its own.
    if not all(len(run.commits) == 1 or "commit" in run.provenance for run in (a, b)):
        return None
    checkouts = [repository.checkout(run.commits[0]) for run in (a, b)]
    names = {str(name) for run in (a, b) for name in run.provenance.get("columns", ())} or {
        name for checkout in checkouts for name in checkout
    }
    known = sorted(name for name in names if any(name in checkout for checkout in checkouts))
    return repository.diff(a.commits[0], b.commits[0], columns=known)


def _samples_of(column: ColumnDiff) -> list[Key]:
    """Return the modified samples of a column; of a nested one those with any change."""
    # Of a nested column the keys are pairs of sample and subsample.
    pairs = (key for keys in (column.added, column.deleted) for key in keys if _is_pair(key))
    changed = (*column.modified, *pairs)
    return list(dict.fromkeys(key[0] if _is_pair(key) else key for key in changed))


def _is_pair(key: Key | tuple[Key, Key]) -> bool:
    return isinstance(key, tuple)


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


def _order(record: Mapping[str, Any], samples: Samples | None) -> Order | None:
    """Return the order that a record spells; None where it follows from more than that."""
    spelled = record["order"]
    kind, count = spelled.get("kind"), int(spelled.get("count", 0))
    if kind == "in order":
        return InOrder(count)
    if kind == "shuffled":
        return Shuffled(count)
    if kind == "blocks":
        return BlockShuffled(count, int(spelled["block_count"]), int(spelled["window"]))
    if kind == "mixed":
        quotas, sizes = (np.array(spelled[name], np.int64) for name in ("quotas", "sizes"))
        return MixedOrder(quotas, sizes, count)
    column = record.get("sampler", {}).get("column")
    if kind in _SAMPLERS and isinstance(column, str) and isinstance(samples, TensorDataset):
        with suppress(NotFoundError):
            found = _SAMPLERS[kind](column, count).order_for(samples)
            return found if found.spelled() == spelled else None
    return None


def _samples(repository: Repository, record: Mapping[str, Any]) -> Samples | None:
    """Return the samples of a record; None where it does not tell which they were."""
    found: Samples | None
    if "parts" in record:
        parts = {}
        for name in record.get("part_names", ()):
            part = _dataset(repository, record["parts"][name])
            if part is None:
                return None
            parts[str(name)] = (part, float(record["weights"][name]))
        found = Mix(parts) if parts else None
    else:
        found = _dataset(repository, record)
    is_same = found is not None and found.identity()["digest"] == record.get("digest")
    return found if is_same else None


def _dataset(repository: Repository, record: Mapping[str, Any]) -> TensorDataset | None:
    """Return the samples of one commit that a record tells; None where it does not."""
    if not isinstance(record.get("commit"), str):
        return None
    checkout = repository.checkout(record["commit"])
    columns = [str(name) for name in record["columns"]]
    if not all(name in checkout for name in columns):
        return None
    chosen = record.get("chosen")
    if chosen is not None and not isinstance(chosen, dict):
        raise InvalidInputError("the chosen samples cannot be read: they are no object of JSON")
    keys: list[Key] | None = None
    if chosen is not None and "splits" not in chosen:
        places = read_positions(chosen, len(checkout[columns[0]]))
        if places is None:
            return None
        every = list(checkout[columns[0]])
        keys = [every[place] for place in places.tolist()]
    try:
        dataset = TensorDataset(checkout, columns, keys=keys)
    except InvalidInputError:
        # The columns have different keys, so that only a subset can have been read.
        return None
    for values in () if chosen is None else chosen.get("splits", ()):
        try:
            split = SplitPart.from_dict(values)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"the chosen samples cannot be read: {error!r}") from error
        parts = dataset.split(dict(split.shares), seed=split.seed, identical=split.identical)
        if split.part not in parts:
            return None
        dataset = parts[split.part]
    return dataset


def _places(order: Order, seed: int, spans: list[Span]) -> Iterator[NDArray[np.int64]]:
    for span in spans:
        key = key_of(seed, span.epoch)
        for positions in span.pieces():
            if span.high > order.count or span.low < 0:
                raise InvalidInputError(
                    f"positions {span.low} to {span.high} are outside of an epoch of {order.count}"
                )
            yield order.places(positions, key)
