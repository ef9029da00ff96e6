"""Columns as a Hugging Face dataset, and Hugging Face datasets as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    MissingDependencyError,
    with_hint,
)
from tensorvcs.formats.arrow_values import why_no_arrow
from tensorvcs.formats.importing import label_names_column
from tensorvcs.formats.table_keys import KEY
from tensorvcs.interchange.places import chunk_count, flat_column
from tensorvcs.interchange.samples import import_samples
from tensorvcs.objects.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorvcs.checkout.reader import Checkout
    from tensorvcs.display.progress import Shown
    from tensorvcs.formats.importing import ImportReport, Target
    from tensorvcs.formats.interfaces import Progress
    from tensorvcs.objects.keys import Key

_MAX_ROWS_A_SPAN = 1024


def to_huggingface(
    checkout: Checkout,
    columns: str | Sequence[str] | None = None,
    *,
    workers: int | None = None,
    cache_dir: str | None = None,
) -> Any:
    """Return columns as a Hugging Face dataset.

    Parameters
    ----------
    checkout : Checkout
        A read-only one.
    columns : str or sequence of str, optional
        They have the same keys. When omitted, all that are not nested, without the columns
        ``LABELS_names`` that name the classes of others.
    workers : int, optional
        Processes that write the dataset, as ``num_proc``.
    cache_dir : str, optional
        Where the dataset is written; where the package keeps its others when omitted.

    Returns
    -------
    datasets.Dataset
        A row a sample in key order; the key in `key`. Arrays of uint8 that are pictures (height,
        width) or (height, width, 3 or 4) are ``Image`` and kept as PNG, which loses nothing;
        class numbers whose names are in a column ``LABELS_names`` are ``ClassLabel``; other arrays
        are ``List`` or ``Array2D`` to ``Array5D``; texts are strings.

    Raises
    ------
    ColumnNotFoundError
    InvalidInputError
        The columns do not have the same keys, or one is of a type that such datasets do not have.
    MissingDependencyError
        The package datasets is not installed.
    """
    datasets = _require_datasets("a Hugging Face dataset")
    names = _chosen(checkout, columns)
    found = {name: flat_column(checkout, name) for name in names}
    first = found[names[0]]
    for name, column in found.items():
        if not first.has_same_keys(column):
            raise InvalidInputError(
                f"columns {names[0]!r} and {name!r} do not have the same samples: {len(first)} "
                f"and {len(column)}"
            )
    keys = first.keys()
    kinds = {type(key) for key in (keys[0], keys[-1])} if len(first) else {int}
    if len(kinds) > 1:
        raise InvalidInputError(
            "some keys are ints and others texts; a dataset has one type for each of its columns"
        )
    features = {KEY: datasets.Value("string" if str in kinds else "int64")}
    for name, column in found.items():
        features[name] = _feature(datasets, checkout, name, column.schema)
    step = min(_MAX_ROWS_A_SPAN, chunk_count(list(found.values())))
    spans = [(low, min(low + step, len(first))) for low in range(0, len(first), step)]
    return datasets.Dataset.from_generator(
        _rows,
        features=datasets.Features(features),
        # A list is what the package shares out among processes.
        gen_kwargs={"checkout": checkout, "columns": tuple(names), "spans": spans},
        num_proc=None if workers is None else min(workers, max(1, len(spans))),
        cache_dir=cache_dir,
    )


def from_huggingface(
    dataset: Any,
    target: Target,
    columns: Sequence[str] | None = None,
    *,
    key: str | None = None,
    variable_shape: Sequence[str] = (),
    progress: Shown[Progress] = None,
) -> ImportReport:
    """Stage the rows of a Hugging Face dataset.

    Parameters
    ----------
    dataset : datasets.Dataset or datasets.IterableDataset
        One split.
    target : editable checkout or transaction
        Columns that are not there are created.
    columns : sequence of str, optional
        All when omitted.
    key : str, optional
        The column of keys, ints or texts; `key` when omitted and there, otherwise the number of
        the row.
    variable_shape : sequence of str
        The columns whose pictures differ in size from row to row.
    progress : callable or True, optional
        Called with samples done and the total.

    Returns
    -------
    ImportReport

    Raises
    ------
    InvalidInputError
        It is several splits, lacks a column, or a column is of a type that none here holds;
        nothing was staged.
    SchemaMismatchError
        A row does not fit; what came before stays staged.
    MissingDependencyError
        The package datasets is not installed.

    Notes
    -----
    Pictures become their pixels, class numbers int64 with a column of names ``COLUMN_names``. Rows
    are read one by one; memory is a few megabytes.
    """
    datasets = _require_datasets("reading a Hugging Face dataset")
    if isinstance(dataset, dict):
        raise with_hint(
            InvalidInputError(f"it is several splits: {', '.join(map(str, dataset))}"),
            "give one of them, such as dataset['train']",
        )
    features = dataset.features or {}
    named = [*(columns or ()), *([key] if key is not None else [])]
    absent = [name for name in named if features and name not in features]
    if absent:
        raise InvalidInputError(
            f"the dataset has no column {absent[0]!r}; it has {', '.join(features)}"
        )
    if key is None and KEY in features:
        key = KEY
    schemas: dict[str, Schema] = {}
    class_names: dict[str, list[str]] = {}
    for name, feature in features.items():
        if name == key or (columns is not None and name not in columns):
            continue
        if isinstance(feature, datasets.ClassLabel) and feature.names:
            class_names[name] = list(feature.names)
        schema = _schema(datasets, name, feature)
        if schema is not None:
            schemas[name] = schema

    def samples() -> Iterator[tuple[Key, dict[str, Any]]]:
        for place, row in enumerate(dataset.with_format(None)):
            wanted = [n for n in (columns or row) if n != key]
            sample = {name: _value(schemas.get(name), row[name]) for name in wanted}
            yield (place if key is None else row[key]), sample

    return import_samples(
        target,
        samples(),
        source="the dataset",
        variable_shape=variable_shape,
        schemas=schemas,
        class_names=class_names,
        count=len(dataset) if hasattr(dataset, "__len__") else None,
        progress=progress,
    )


def _rows(
    checkout: Checkout, columns: tuple[str, ...], spans: list[tuple[int, int]]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of some ranges of positions; runs in processes of their own too."""
    opened = [checkout.columns[name] for name in columns]
    for start, stop in spans:
        keys = opened[0].keys()[start:stop]
        blocks = [column[start:stop] for column in opened]
        for place, key in enumerate(keys):
            row = {name: block[place] for name, block in zip(columns, blocks, strict=True)}
            yield {KEY: key, **row}


def _chosen(checkout: Checkout, columns: str | Sequence[str] | None) -> list[str]:
    if columns is None:
        flat = [name for name, column in checkout.columns.items() if not column.schema.nested]
        naming = {label_names_column(name) for name in flat}
        names = [name for name in flat if name not in naming]
    else:
        names = [columns] if isinstance(columns, str) else list(columns)
    for name in names:
        if name not in checkout.columns:
            known = ", ".join(checkout.columns) or "none"
            raise ColumnNotFoundError(f"no column {name!r}; there are: {known}")
    if KEY in names:
        raise with_hint(
            InvalidInputError(f"the dataset names its keys {KEY!r}, as this column is named"),
            "rename the column",
        )
    if not names:
        raise InvalidInputError("there is no column that is not nested")
    return names


def _feature(datasets: Any, checkout: Checkout, name: str, schema: Schema) -> Any:
    """Return the feature of a column."""
    reason = why_no_arrow(schema)
    if reason is not None:
        raise InvalidInputError(f"column {name!r} cannot be in such a dataset: {reason}")
    if schema.kind != "ndarray":
        return datasets.Value("string" if schema.kind == "str" else "binary")
    assert schema.shape is not None
    if not schema.shape:
        names = _class_names(checkout, name) if schema.dtype.startswith(("int", "uint")) else None
        return datasets.Value(schema.dtype) if names is None else datasets.ClassLabel(names=names)
    if _is_picture(schema):
        return datasets.Image()
    if len(schema.shape) == 1:
        length = -1 if schema.variable_shape else schema.shape[0]
        return datasets.Sequence(datasets.Value(schema.dtype), length=length)
    inner_is_fixed = not schema.variable_shape
    if inner_is_fixed and len(schema.shape) <= 5:
        array = getattr(datasets, f"Array{len(schema.shape)}D")
        return array(shape=schema.shape, dtype=schema.dtype)
    raise InvalidInputError(
        f"column {name!r} cannot be in such a dataset: it has no type for arrays of "
        f"{schema.spelling}"
    )


def _is_picture(schema: Schema) -> bool:
    assert schema.shape is not None
    return schema.dtype == "uint8" and (
        len(schema.shape) == 2 or (len(schema.shape) == 3 and schema.shape[2] in {3, 4})
    )


def _class_names(checkout: Checkout, column: str) -> list[str] | None:
    """Return the names of the classes 0, 1, … of a label column, where they are kept."""
    named = label_names_column(column)
    if named not in checkout.columns:
        return None
    names = checkout.columns[named]
    if names.schema.kind != "str" or names.schema.nested:
        return None
    keys = list(names)
    return list(names.values()) if keys == list(range(len(keys))) and keys else None


def _schema(datasets: Any, name: str, feature: Any) -> Schema | None:
    """Return the schema for a feature; None for pictures, whose pixels tell."""
    if isinstance(feature, datasets.Image):
        return None
    if isinstance(feature, datasets.ClassLabel):
        return Schema("ndarray", "int64", ())
    if isinstance(feature, datasets.Value):
        if feature.dtype in {"string", "large_string"}:
            return Schema("str")
        if feature.dtype in {"binary", "large_binary"}:
            return Schema("bytes")
        if _is_number(feature.dtype):
            return Schema("ndarray", feature.dtype, ())
    extent = getattr(feature, "shape", None)
    if extent is not None and _is_number(getattr(feature, "dtype", "")):
        varies = None in extent
        shape = (None,) * len(extent) if varies else tuple(extent)
        return Schema("ndarray", feature.dtype, shape, variable_shape=varies)
    inner = getattr(feature, "feature", None)
    if isinstance(inner, datasets.Value) and _is_number(inner.dtype):
        length = feature.length
        if length >= 0:
            return Schema("ndarray", inner.dtype, (length,))
        return Schema("ndarray", inner.dtype, (None,), variable_shape=True)
    raise with_hint(
        InvalidInputError(f"column {name!r}: no column here holds {feature}"),
        "name the columns that are wanted: columns=[...]",
    )


def _is_number(dtype: str) -> bool:
    return dtype == "bool" or dtype.rstrip("0123456789") in {"int", "uint", "float"}


def _value(schema: Schema | None, value: Any) -> Any:
    """Return a value with the dtype that the features tell; Python's numbers have none."""
    if schema is None or schema.kind != "ndarray" or value is None:
        return value
    return np.asarray(value, schema.numpy_dtype)


def _require_datasets(purpose: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError("datasets", "huggingface", purpose) from error
    return datasets
