"""Samples one by one, as other libraries hand them out, into columns.

A sample is a mapping from field to value. The first samples tell what the columns are; all others
must fit.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.display.progress import count_progress
from tensorvcs.errors import InvalidInputError, SchemaMismatchError, with_hint
from tensorvcs.formats.importing import import_source, label_names_column
from tensorvcs.formats.interfaces import Batch, ColumnBatch, Plan
from tensorvcs.objects.dtype import dtype_name
from tensorvcs.objects.schema import Schema, check_column_name
from tensorvcs.objects.tensor import canonical_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tensorvcs.display.progress import Shown
    from tensorvcs.formats.importing import ImportReport, Target
    from tensorvcs.formats.interfaces import Progress, Skipped
    from tensorvcs.objects.keys import Key

_LOOKED_AT = 256
_BATCH_NBYTES = 8 << 20
_BATCH_COUNT = 4096


def array_of(value: Any) -> Any:
    """Return a value as a column takes it: an ndarray, a text or bytes; None stays None.

    Numbers of Python become int64, float64 and bool; a picture of Pillow becomes its pixels,
    (height, width) or (height, width, channel), where a palette is resolved.

    Raises
    ------
    InvalidInputError
        It is something else.
    """
    if value is None or isinstance(value, (np.ndarray, np.generic, str)):
        return np.asarray(value) if isinstance(value, np.generic) else value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if hasattr(value, "getbands") and hasattr(value, "convert"):
        return _pixels(value)
    try:
        found = np.asarray(value)
    except ValueError as error:
        raise InvalidInputError(f"values of {type(value).__name__} are no array: {error}") from None
    if found.dtype.kind not in "biufc":
        raise InvalidInputError(
            f"no column holds a {type(value).__name__}: it is no number, array, text or bytes"
        )
    return found


def _pixels(image: Any) -> np.ndarray[Any, Any]:
    mode = image.mode
    if mode == "1":
        image = image.convert("L")
    elif mode in {"P", "PA"}:
        image = image.convert("RGBA" if "transparency" in image.info or mode == "PA" else "RGB")
    elif mode in {"CMYK", "YCbCr", "LAB", "HSV"}:
        image = image.convert("RGB")
    return np.asarray(image)


def schema_of_value(value: Any, *, variable_shape: bool = False) -> Schema:
    """Return the schema of a column of values like one that `array_of` gave."""
    if isinstance(value, (str, bytes)):
        return Schema("str" if isinstance(value, str) else "bytes")
    shape = (None,) * value.ndim if variable_shape else value.shape
    return Schema("ndarray", dtype_name(value.dtype), shape, variable_shape=variable_shape)


def import_samples(
    target: Target,
    samples: Iterable[tuple[Key, Mapping[str, Any]]],
    *,
    source: str,
    variable_shape: Sequence[str] = (),
    schemas: Mapping[str, Schema] | None = None,
    class_names: Mapping[str, Sequence[str]] | None = None,
    count: int | None = None,
    progress: Shown[Progress] = None,
) -> ImportReport:
    """Stage samples that come one by one.

    Parameters
    ----------
    target : editable checkout or transaction
    samples : iterable of (key, mapping from column to value)
        Values as `array_of` takes them; None is no value.
    source : str
        What they come from, for messages.
    variable_shape : sequence of str
        The columns whose shapes differ from sample to sample.
    schemas : mapping of str to Schema, optional
        Of columns that are known beforehand; the others are as their first value.
    class_names : mapping of str to sequence of str, optional
        For columns of class numbers, the names of the classes: they are kept in a column of texts
        ``COLUMN_names`` under the numbers.
    count : int, optional
        How many samples come, for `progress`.
    progress : callable or True, optional
        Called with samples done and the total.

    Raises
    ------
    InvalidInputError
        A column has no value in the first samples, and nothing tells what it is.
    SchemaMismatchError
        A value does not fit its column; what was staged before stays staged.
    """
    with count_progress(progress, "Importing") as show:
        made = _SampleSource(samples, source, variable_shape, schemas or {}, count, show)
        report = import_source(target, made, source)
    for column, names in (class_names or {}).items():
        names_column = label_names_column(column)
        if names_column not in target.columns:
            target.add_str_column(names_column)
        target.columns[names_column].extend(list(names), keys=range(len(names)))
    return report


class _SampleSource:
    """Samples one by one, as the importer takes a file."""

    def __init__(
        self,
        samples: Iterable[tuple[Key, Mapping[str, Any]]],
        source: str,
        variable_shape: Sequence[str],
        schemas: Mapping[str, Schema],
        count: int | None,
        progress: Progress | None,
    ) -> None:
        self.skipped: Sequence[Skipped] = ()
        self.notes: Sequence[str] = ()
        self.ignored_count = 0
        self._samples: Iterator[tuple[Key, Mapping[str, Any]]] = iter(samples)
        self._source = source
        self._variable_shape = variable_shape
        self._schemas = dict(schemas)
        self._count = count
        self._progress = progress

    def plan(self, progress: Progress | None = None) -> Plan:
        looked_at: list[tuple[Key, Mapping[str, Any]]] = []
        names: dict[str, None] = {}
        for key, sample in islice(self._samples, _LOOKED_AT):
            looked_at.append((key, sample))
            names.update(dict.fromkeys(sample))
            for name, value in sample.items():
                if value is None or name in self._schemas:
                    continue
                is_variable = name in self._variable_shape
                found = array_of(value)
                self._schemas[name] = schema_of_value(found, variable_shape=is_variable)
            if len(self._schemas) >= len(names):
                break
        for name in names:
            check_column_name(name)
            if name not in self._schemas:
                raise InvalidInputError(
                    f"{self._source}: {name!r} has no value in the first {len(looked_at)} samples, "
                    "so that nothing tells what column it needs"
                )
        if not self._schemas:
            raise InvalidInputError(f"{self._source} has no samples")
        unknown = [name for name in self._variable_shape if name not in self._schemas]
        if unknown:
            raise InvalidInputError(
                f"{self._source} has no field {unknown[0]!r}; it has {', '.join(self._schemas)}"
            )
        self._samples = chain(looked_at, self._samples)
        return Plan(self._schemas, None)

    def batches(self) -> Iterator[Batch]:
        keys: dict[str, list[Key]] = {name: [] for name in self._schemas}
        values: dict[str, list[Any]] = {name: [] for name in self._schemas}
        nbytes = count = done = 0
        for key, sample in self._samples:
            for name, value in sample.items():
                if name not in self._schemas:
                    raise InvalidInputError(
                        f"{self._source}: sample {key!r} has the field {name!r}, which the first "
                        f"samples do not have; they have {', '.join(self._schemas)}"
                    )
                if value is None:
                    continue
                found = self._fitting(name, key, array_of(value))
                keys[name].append(key)
                values[name].append(found)
                nbytes += getattr(found, "nbytes", 64)
            count += 1
            done += 1
            if nbytes >= _BATCH_NBYTES or count == _BATCH_COUNT:
                yield self._batch(keys, values)
                keys = {name: [] for name in self._schemas}
                values = {name: [] for name in self._schemas}
                nbytes = count = 0
                if self._progress is not None:
                    self._progress(done, self._count)
        yield self._batch(keys, values)
        if self._progress is not None:
            self._progress(done, self._count)

    def _fitting(self, name: str, key: Key, value: Any) -> Any:
        try:
            return canonical_value(self._schemas[name], value)
        except SchemaMismatchError as error:
            error.column, error.key = name, key
            if self._schemas[name].is_fixed_shape and isinstance(value, np.ndarray):
                raise with_hint(
                    error, f"where shapes differ, say so: variable_shape=[{name!r}]"
                ) from None
            raise

    def _batch(self, keys: Mapping[str, list[Key]], values: Mapping[str, list[Any]]) -> Batch:
        columns = {}
        for name, schema in self._schemas.items():
            if not keys[name]:
                continue
            stacked: Any = values[name]
            if schema.is_fixed_shape:
                stacked = np.stack(values[name])
            columns[name] = ColumnBatch(keys[name], stacked)
        return Batch(columns)

    def close(self) -> None:
        return
