"""Which samples a loader reads: what its state, and the record of a run, tell of them."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import InvalidInputError, NotFoundError
from tensorvcs.history.commit import Commit, load_commit
from tensorvcs.history.difference.diff import diff_columns
from tensorvcs.history.revisions import resolve
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.objects.digest import CommitDigest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tensorvcs.checkout.editor import EditableCheckout
    from tensorvcs.checkout.reader import Checkout
    from tensorvcs.objects.keys import Key


def identity_of(
    checkout: Checkout | EditableCheckout,
    columns: Sequence[str],
    positions: Mapping[str, NDArray[Any]] | None,
) -> dict[str, Any]:
    """Return plain values that tell these samples from others.

    Returns
    -------
    dict
        ``commit`` (id), ``columns``, and ``digest``: of the content of the columns and of what is
        chosen of them. Another commit whose columns are the same has the same digest.
    """
    hasher = blake2b(digest_size=16)
    for name in columns:
        state = checkout.columns[name]._reader.state
        fields = [name, state.schema.spelling, state.tree.to_fields()]
        hasher.update(json.dumps(fields, sort_keys=True).encode())
        if positions is not None:
            hasher.update(positions[name].astype("<i8").tobytes())
    return {
        "commit": None if checkout.base is None else checkout.base.id,
        "columns": list(columns),
        "digest": hasher.hexdigest(),
    }


def difference(
    checkout: Checkout | EditableCheckout, then: Mapping[str, Any], now: Mapping[str, Any]
) -> str:
    """Tell what changed from the samples of a state to those of now, in a sentence or two."""
    if not {"columns", "commit"} <= set(then):
        return "it does not tell which"
    if then["columns"] != now["columns"]:
        return f"it read the columns {then['columns']}, and now {now['columns']} are read"
    if then["commit"] == now["commit"]:
        return f"it read other samples of the same commit {now['commit'][:12]}"
    base = checkout.base
    if base is None or then["commit"] is None:
        return "it is of samples that were never committed"
    told = f"it is of commit {then['commit'][:12]}, and commit {now['commit'][:12]} is read"
    changes: list[str] = []
    # What the other commit holds is only told when it is here.
    with suppress(NotFoundError, InvalidInputError, ValueError):
        stores = checkout._stores
        commit = load_commit(stores.objects, CommitDigest(bytes.fromhex(then["commit"])))
        before = read_snapshot(stores.objects, commit.object.snapshot)
        after = read_snapshot(stores.objects, base.object.snapshot)
        nodes = checkout.columns[then["columns"][0]]._reader.nodes
        diff = diff_columns(nodes, before, after, stores.tensors, names=list(then["columns"]))
        for name, stat in diff.stat().columns.items():
            counts = (("added", stat.added), ("deleted", stat.deleted), ("modified", stat.modified))
            words = [f"{count} {word}" for word, count in counts if count]
            if stat.is_schema_changed:
                words.append("another schema")
            if words:
                changes.append(f"{name!r}: {', '.join(words)}")
    if changes:
        return f"{told}; samples changed in {'; '.join(changes)}"
    return f"{told}; what changed cannot be told, for that commit is not here"


def changed_since(
    checkout: Checkout | EditableCheckout, columns: Sequence[str], revision: str | Commit
) -> list[Key] | None:
    """Return the samples with a value that they did not have at a revision, in any of some columns.

    Returns
    -------
    list of key, or None
        None for all samples: a column is new, or has another schema. A nested sample that lost a
        subsample, or itself, is among them.

    Raises
    ------
    RevisionNotFoundError
    ObjectNotFoundError
        A tree of the revision is not here.
    """
    stores = checkout._stores
    if isinstance(revision, Commit):
        commit = revision
    else:
        commit = load_commit(stores.objects, resolve(stores.objects, stores.refs, revision))
    before = read_snapshot(stores.objects, commit.object.snapshot)
    after = {name: checkout.columns[name]._reader.state for name in checkout.columns}
    nodes = checkout.columns[columns[0]]._reader.nodes
    changed: dict[Key, None] = {}
    for column in diff_columns(nodes, before, after, stores.tensors, columns).columns.values():
        # A column of one of these names that became another one is no matter here.
        if column.name not in columns:
            continue
        if column.schema is not None:
            return None
        if after[column.name].schema.nested:
            for keys in (column.added, column.modified, column.deleted):
                changed.update(dict.fromkeys(sample for sample, _ in keys))
        else:
            changed.update(dict.fromkeys(column.added))
            changed.update(dict.fromkeys(column.modified))
    return list(changed)
