"""Runs: what a model was trained on, kept under a name.

A run is the value of a ref ``runs/NAME``, so that changes of it are in the operation log and can be
undone, and the commits that it names are never garbage. It stays in the repository where it was
recorded: a record of it as JSON goes wherever a file goes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import (
    InvalidInputError,
    ObjectDamagedError,
    ObjectNotFoundError,
    RunExistsError,
    RunNotFoundError,
    with_hint,
)
from tensorvcs.history.commit import change_refs, load_commit
from tensorvcs.history.refs import RUNS, check_ref_name
from tensorvcs.objects.commit import Timestamp
from tensorvcs.objects.digest import DIGEST_NBYTES, CommitDigest
from tensorvcs.objects.encoding import decode_object, encode_object
from tensorvcs.storage.interfaces import RefChange

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

    from tensorvcs.history.commit import Commit
    from tensorvcs.storage.interfaces import ObjectStore, Stores

MAX_RECORD_NBYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """What a model was trained on, and how it did.

    Attributes
    ----------
    name : str
    provenance : mapping
        What was recorded, as JSON values; of a `TensorLoader` what its `provenance` returned.
    metrics : mapping of str to float
    commits : tuple of Commit
        Those that the provenance names: one, or several where checkouts were mixed.
    user : str
        Who recorded it.
    timestamp : Timestamp
    """

    name: str
    provenance: Mapping[str, Any]
    metrics: Mapping[str, float]
    commits: tuple[Commit, ...]
    user: str
    timestamp: Timestamp = field(repr=False)

    @property
    def time(self) -> dt.datetime:
        """When it was recorded, in the time zone of who did."""
        return self.timestamp.moment

    def __repr__(self) -> str:
        at = ", ".join(commit.short_id for commit in self.commits)
        return f"<Run {self.name!r} on {at}>"


def commits_named(provenance: Any) -> list[str]:
    """Return the ids under ``commit``, anywhere in a provenance, each once."""
    found: dict[str, None] = {}
    waiting = [provenance]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            commit = value.get("commit")
            if isinstance(commit, str):
                found[commit] = None
            waiting += reversed(list(value.values()))
        elif isinstance(value, list):
            waiting += reversed(value)
    return list(found)


def record_run(
    stores: Stores,
    name: str,
    provenance: Mapping[str, Any],
    metrics: Mapping[str, float],
    *,
    overwrite: bool,
    user: str,
    now: Timestamp,
) -> Run:
    """Keep a run under a name; inside a transaction of the stores.

    Raises
    ------
    RefNameError
    RunExistsError
        There is one of that name, and `overwrite` is off.
    InvalidInputError
        The provenance is no JSON, is too large, or names no commit that is here.
    """
    check_ref_name(name, "run")
    before = stores.refs.get(RUNS + name)
    if before is not None and not overwrite:
        raise with_hint(
            RunExistsError(f"run {name!r} is recorded already"),
            "choose another name, or overwrite=True (--overwrite)",
        )
    ids = commits_named(dict(provenance))
    if not ids:
        raise with_hint(
            InvalidInputError("the provenance names no commit"),
            "add one under 'commit' (--commit REV)",
        )
    for commit_id in ids:
        _check_commit(stores.objects, commit_id)
    spelled = _json(provenance, "the provenance")
    measured = _json(_checked_metrics(metrics), "the metrics")
    value = encode_object(
        "run",
        1,
        {
            "commits": ids,
            "provenance": spelled,
            "metrics": measured,
            "user": user,
            "time": now.microseconds,
            "offset": now.offset_minutes,
        },
    )
    if len(value) > MAX_RECORD_NBYTES:
        raise InvalidInputError(
            f"the record has {len(value):,} bytes; at most {MAX_RECORD_NBYTES:,} are allowed"
        )
    change_refs(
        stores,
        [RefChange(RUNS + name, before, value)],
        command="run record",
        description=name,
        user=user,
        now=now,
    )
    return _decode(stores.objects, name, value)


def _check_commit(objects: ObjectStore, commit_id: str) -> None:
    try:
        digest = bytes.fromhex(commit_id)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_NBYTES:
        raise InvalidInputError(f"the provenance names {commit_id[:80]!r}, which is no commit id")
    try:
        load_commit(objects, CommitDigest(digest))
    except ObjectNotFoundError as error:
        raise with_hint(
            InvalidInputError(f"the provenance names commit {commit_id[:12]}, which is not here"),
            "fetch the branch it is on first",
        ) from error


def _checked_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    found = {}
    for name, value in metrics.items():
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise InvalidInputError(f"metric {name!r} is no number: {value!r}")
        found[str(name)] = float(value)
    return found


def _json(values: Mapping[str, Any], what: str) -> str:
    try:
        return json.dumps(dict(values), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what} cannot be JSON: {error}") from error


def list_runs(stores: Stores) -> Iterator[Run]:
    """Yield the runs by name."""
    for name, value in stores.refs.items(RUNS).items():
        yield _decode(stores.objects, name.removeprefix(RUNS), value)


def find_run(stores: Stores, name: str) -> Run:
    """Return a run; raise RunNotFoundError when there is none of that name."""
    value = stores.refs.get(RUNS + name)
    if value is None:
        raise with_hint(RunNotFoundError(f"no run {name!r}"), "'tvcs run list' lists the runs")
    return _decode(stores.objects, name, value)


def delete_run(stores: Stores, name: str, *, user: str, now: Timestamp) -> Run:
    """Forget a run, and return it; raise RunNotFoundError when there is none of that name."""
    run = find_run(stores, name)
    change_refs(
        stores,
        [RefChange(RUNS + name, stores.refs.get(RUNS + name), None)],
        command="run delete",
        description=name,
        user=user,
        now=now,
    )
    return run


def _decode(objects: ObjectStore, name: str, value: bytes) -> Run:
    fields = decode_object(value, "run", 1)
    try:
        provenance, metrics = json.loads(fields["provenance"]), json.loads(fields["metrics"])
        digests = [CommitDigest(bytes.fromhex(text)) for text in fields["commits"]]
        timestamp = Timestamp(fields["time"], fields["offset"])
        user = fields["user"]
        if not (isinstance(provenance, dict) and isinstance(metrics, dict)):
            raise TypeError("it is no object of JSON")
    except (KeyError, TypeError, ValueError) as error:
        raise ObjectDamagedError(f"the record of run {name!r} cannot be read: {error}") from error
    commits = tuple(load_commit(objects, digest) for digest in digests)
    return Run(name, provenance, metrics, commits, str(user), timestamp)
