"""The columns of a snapshot as schemas and trees, read from and written to an object store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.objects.commit import ColumnEntry, Snapshot
from tensorvcs.objects.digest import SnapshotDigest
from tensorvcs.objects.schema import Schema
from tensorvcs.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorvcs.storage.interfaces import ObjectStore


@dataclass(frozen=True, slots=True)
class ColumnState:
    """One column of one version: what its values have in common, and where they are."""

    schema: Schema
    tree: Tree


Columns = dict[str, ColumnState]


def holds_same_values(before: Schema, after: Schema) -> bool:
    """Tell whether two schemas differ at most in how values are stored."""
    return (before.kind, before.dtype, before.nested, before.value_nbytes) == (
        after.kind,
        after.dtype,
        after.nested,
        after.value_nbytes,
    ) and (before.is_inline, before.shape if before.is_inline else None) == (
        after.is_inline,
        after.shape if after.is_inline else None,
    )


def read_snapshot(objects: ObjectStore, digest: SnapshotDigest) -> Columns:
    """Return the columns of a snapshot by name; one object is read."""
    return decode_snapshot(objects.get([digest])[0])


def decode_snapshot(content: bytes) -> Columns:
    """Return the columns of the canonical bytes of a snapshot."""
    snapshot = Snapshot.decode(content)
    columns: Columns = {}
    for name, entry in snapshot.columns.items():
        schema = Schema.from_fields(entry.schema)
        tree = Tree.from_fields(entry.tree)
        if tree.value_nbytes != schema.value_nbytes:
            raise ObjectDamagedError(
                f"snapshot {snapshot.digest.hex()[:12]}: column {name!r} has tree values of "
                f"{tree.value_nbytes} bytes; its schema has {schema.value_nbytes}"
            )
        columns[name] = ColumnState(schema, tree)
    return columns


def encode_snapshot(columns: Mapping[str, ColumnState]) -> bytes:
    """Return the canonical bytes of a snapshot."""
    return Snapshot(
        {
            name: ColumnEntry(state.schema.to_fields(), state.tree.to_fields())
            for name, state in sorted(columns.items())
        }
    ).encode()


def write_snapshot(objects: ObjectStore, columns: Mapping[str, ColumnState]) -> SnapshotDigest:
    """Store a snapshot and return its digest."""
    return SnapshotDigest(objects.put([encode_snapshot(columns)])[0])
