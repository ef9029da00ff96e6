"""How commits, keys and differences look to a program: JSON values with stable names."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.display.text import ArraySummary
from tensorvcs.objects.dtype import dtype_name

from .text import counts_of

if TYPE_CHECKING:
    from tensorvcs import (
        ChangeHistogram,
        ChangeSize,
        ChangeSizes,
        Commit,
        Conflict,
        Diff,
        Identity,
        SampleChange,
        Schema,
    )

Document = dict[str, Any]

_WHOLE_BYTES = 64
_WHOLE_ELEMENTS = 16


def identity_document(who: Identity) -> Document:
    """Return a person."""
    return {"name": who.name, "email": who.email}


def commit_document(commit: Commit) -> Document:
    """Return all that a commit says of itself."""
    signature = {} if commit.signature is None else {"signature": commit.signature}
    return {
        "id": commit.id,
        "parents": list(commit.parents),
        "snapshot": commit.snapshot,
        "author": identity_document(commit.author),
        "committer": identity_document(commit.committer),
        "time": commit.time.isoformat(),
        "message": commit.message,
        "metadata": dict(commit.metadata),
        **signature,
    }


def key_document(key: Any) -> Any:
    """Return a sample key: a text or a number; of a subsample a list of two."""
    return [key_document(part) for part in key] if isinstance(key, tuple) else key


def schema_document(schema: Schema | None) -> Document | None:
    """Return the schema of a column, None where there is no column."""
    return None if schema is None else schema.to_fields()


def diff_document(difference: Diff, *, has_keys: bool) -> Document:
    """Return what differs by column: counts, schemas and, when asked for, the keys."""
    columns: Document = {}
    for name, column in difference.columns.items():
        counts = counts_of(column)
        added, deleted, modified = counts or (None, None, None)
        change = column.schema
        columns[name] = {
            "added": added,
            "deleted": deleted,
            "modified": modified,
            "schema": None
            if change is None
            else {"before": schema_document(change[0]), "after": schema_document(change[1])},
        }
        if counts is None:
            columns[name]["is_here"] = False
        if column.renamed_from is not None:
            columns[name]["renamed_from"] = column.renamed_from
        if has_keys and counts is not None:
            columns[name] |= {
                "added_keys": [key_document(key) for key in column.added],
                "deleted_keys": [key_document(key) for key in column.deleted],
                "modified_keys": [key_document(key) for key in column.modified],
            }
    return {"columns": columns}


def number_document(number: Any) -> Any:
    """Return a number of numpy; what JSON has no number for is a text, as ``float`` reads it."""
    plain = number.item() if isinstance(number, np.generic) else number
    if isinstance(plain, complex):
        return [number_document(plain.real), number_document(plain.imag)]
    if isinstance(plain, float) and not math.isfinite(plain):
        return str(plain)
    return plain


def size_document(size: ChangeSize | None) -> Document | None:
    """Return how large a change is, None for a sample that is on one side only."""
    return None if size is None else _plain_fields(size)


def _plain_fields(value: Any) -> Document:
    return {field.name: number_document(getattr(value, field.name)) for field in fields(value)}


def value_document(value: Any) -> Document | None:
    """Return a value: texts and small arrays whole, large ones by their numbers; None for none."""
    if value is None:
        return None
    if isinstance(value, str):
        return {"kind": "str", "length": len(value), "value": value}
    if isinstance(value, bytes):
        shown = {"hex": value.hex()} if len(value) <= _WHOLE_BYTES else {}
        return {"kind": "bytes", "length": len(value), **shown}
    document: Document = {
        "kind": "ndarray",
        "dtype": dtype_name(value.dtype),
        "shape": list(value.shape),
    }
    summary = ArraySummary.of(value)
    if summary is not None:
        document |= _plain_fields(summary)
    if value.size <= _WHOLE_ELEMENTS:
        wide = value.astype(float) if value.dtype.kind == "V" else value
        document["value"] = _nested(wide.tolist())
    return document


def _nested(part: Any) -> Any:
    return [_nested(one) for one in part] if isinstance(part, list) else number_document(part)


def change_document(change: SampleChange) -> Document:
    """Return one changed sample with its values."""
    return {
        "key": key_document(change.key),
        "sign": change.sign,
        "before": value_document(change.before),
        "after": value_document(change.after),
        "size": size_document(change.size),
    }


def histogram_document(histogram: ChangeHistogram, sizes: ChangeSizes) -> Document:
    """Return how many of the measured changes are of each size."""
    return {
        "measured": len(sizes),
        "measure": histogram.measure,
        "edges": [number_document(edge) for edge in histogram.edges],
        "counts": list(histogram.counts),
        "beyond": histogram.beyond,
    }


def conflict_document(conflict: Conflict) -> Document:
    """Return one conflict of a merge."""
    return {
        "column": conflict.column,
        "key": key_document(conflict.key),
        "kind": conflict.kind,
    }
