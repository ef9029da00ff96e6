"""Which conflicts of a merge that waits a caller means: by name, or by patterns of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    SampleNotFoundError,
    with_hint,
)
from tensorvcs.history.merging.merge_progress import OpenColumn, OpenSamples
from tensorvcs.objects.key_patterns import KeyPatterns
from tensorvcs.objects.keys import (
    EMPTY_INTS,
    Keys,
    check_key,
    collect_keys,
    composite_key,
    composite_prefix,
    text_array,
)
from tensorvcs.tree import cursor
from tensorvcs.tree.entries import join_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.merging.merge_progress import KeptMerge, Part
    from tensorvcs.objects.key_patterns import KeyPattern
    from tensorvcs.tree.nodes import Nodes

Chosen = list[tuple[int, Keys | None]]
"""Parts of a merge by place, and of each the samples; None for the column as a whole."""

Pair = tuple[str | int, str | int]
"""A subsample: its sample's key and its own."""

_LIST_THEM = "'tvcs conflicts' lists those that are open"


def named_conflicts(nodes: Nodes, kept: KeptMerge, column: str, key: Any) -> Chosen:
    """Return the conflicts that a caller names, decided ones as well.

    Parameters
    ----------
    key : str, int, pair, list of them, or None
        A sample; of a nested column a pair, or a sample with all its subsamples. None is for a
        column that is in conflict as a whole.

    Raises
    ------
    ColumnNotFoundError, SampleNotFoundError
        The column, or the sample, is not in conflict.
    InvalidInputError
        A key of a column in conflict as a whole, or none of one in conflict by sample.
    """
    place, part = _parts_of(kept, column)[0]
    if isinstance(part, OpenColumn):
        if key is not None:
            raise with_hint(
                InvalidInputError(
                    f"column {column!r} is in conflict as a whole ({part.kind}), not by sample"
                ),
                "leave the key out",
            )
        return [(place, None)]
    if key is None:
        raise with_hint(
            InvalidInputError(f"column {column!r} is in conflict by sample; name a key"),
            f"or decide all of them: tvcs resolve {column} --all, or resolve_all",
        )
    return [(place, _find(nodes, part, key if isinstance(key, list) else [key]))]


def _find(nodes: Nodes, part: OpenSamples, keys: list[Any]) -> Keys:
    """Return the samples in conflict that keys name; several subsamples for a sample."""
    if part.schema.nested:
        named, places = _collect_nested(nodes, part, keys)
    else:
        named, places = collect_keys(keys)
    is_there = cursor.get(nodes, part.ours, named)[1] | cursor.get(nodes, part.theirs, named)[1]
    is_found = np.zeros(len(keys), np.bool_)
    is_found[places[is_there]] = True
    if not is_found.all():
        absent = keys[int(np.argmin(is_found))]
        raise with_hint(
            SampleNotFoundError(f"column {part.column!r}: {absent!r} is not in conflict"),
            _LIST_THEM,
        )
    return _union([named])


def _collect_nested(
    nodes: Nodes, part: OpenSamples, keys: list[Any]
) -> tuple[Keys, NDArray[np.intp]]:
    """Return tree keys, and for each the place of its pair or sample in `keys`."""
    texts: list[bytes] = []
    places: list[int] = []
    for place, key in enumerate(keys):
        if isinstance(key, tuple) and len(key) == 2:
            found = [composite_key(*key)]
        else:
            prefix = composite_prefix(check_key(key))
            found = [
                text
                for tree in (part.ours, part.theirs)
                for text in cursor.keys_at(
                    nodes, tree, *cursor.prefix_range(nodes, tree, prefix)
                ).texts.tolist()
            ]
        texts += found
        places += [place] * len(found)
    return Keys(EMPTY_INTS, text_array(texts)), np.array(places, np.intp)


def matching_conflicts(
    nodes: Nodes,
    kept: KeptMerge,
    column: str | None,
    patterns: Sequence[KeyPattern | Pair] | None,
    *,
    again: bool,
) -> Chosen:
    """Return the conflicts of a column, or of all, that fit patterns, or all of them.

    Parameters
    ----------
    patterns : sequence of KeyPattern or pair, or None
        A pair is one subsample of a nested column.
    again : bool
        Whether those that were decided count as well.

    Raises
    ------
    ColumnNotFoundError
        The column is not in conflict.
    SampleNotFoundError
        A pattern fits no conflict.
    """
    parts = list(enumerate(kept.parts)) if column is None else _parts_of(kept, column)
    if patterns is None:
        return [
            (place, None if isinstance(part, OpenColumn) else _keys_of(nodes, part, again=again))
            for place, part in parts
            if part.open_count or again
        ]
    found = [
        (place, part, _keys_of(nodes, part, again=again))
        for place, part in parts
        if isinstance(part, OpenSamples)
    ]
    chosen = [np.zeros(len(keys), np.bool_) for _, _, keys in found]
    for pattern in patterns:
        fits = [_fits(pattern, part, keys) for _, part, keys in found]
        if not any(new.any() for new in fits):
            where = "" if column is None else f" of column {column!r}"
            raise with_hint(
                SampleNotFoundError(f"no conflict{where} has a key like {pattern!r}"), _LIST_THEM
            )
        chosen = [a | b for a, b in zip(chosen, fits, strict=True)]
    return [
        (place, keys.select(which))
        for (place, _, keys), which in zip(found, chosen, strict=True)
        if which.any()
    ]


def _fits(pattern: KeyPattern | Pair, part: OpenSamples, keys: Keys) -> NDArray[np.bool_]:
    """Tell which keys of a column in conflict fit a pattern; shape (n,)."""
    nested = part.schema.nested
    if not isinstance(pattern, tuple):
        return KeyPatterns.of(pattern).match(keys, nested=nested)
    fits = np.zeros(len(keys), np.bool_)
    if nested:
        fits[len(keys.ints) :] = keys.texts == composite_key(*pattern)
    return fits


def _keys_of(nodes: Nodes, part: OpenSamples, *, again: bool) -> Keys:
    if again:
        return _all_keys(nodes, part)
    return cursor.keys_at(nodes, part.open, 0, part.open.count)


def _all_keys(nodes: Nodes, part: OpenSamples) -> Keys:
    """Return the keys of all samples of a column that were in conflict, decided ones too."""
    return _union([cursor.keys_at(nodes, tree, 0, tree.count) for tree in (part.ours, part.theirs)])


def _union(found: Sequence[Keys]) -> Keys:
    return Keys(
        np.unique(join_keys([keys.ints for keys in found], is_text=False)),
        np.unique(join_keys([keys.texts for keys in found], is_text=True)),
    )


def _parts_of(kept: KeptMerge, column: str) -> list[tuple[int, Part]]:
    """Return the parts about a column, with their places; a whole column by any of its names."""
    found = [
        (place, part)
        for place, part in enumerate(kept.parts)
        if part.column == column or (isinstance(part, OpenColumn) and column in part.names)
    ]
    if not found:
        known = ", ".join(dict.fromkeys(part.column for part in kept.parts)) or "none"
        raise with_hint(
            ColumnNotFoundError(f"no conflict is in column {column!r}; there are some in: {known}"),
            _LIST_THEM,
        )
    return found
