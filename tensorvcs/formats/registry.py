"""Formats by name: the built-in ones, and those of other packages by entry point."""

from __future__ import annotations

import logging
from importlib import import_module, metadata
from typing import TYPE_CHECKING, cast

from tensorvcs.errors import FormatNotFoundError, StorageError, UnreadableFileError, with_hint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tensorvcs.formats.interfaces import ExportColumn, Format

GROUP = "tensorvcs.formats"
# In the order in which they are asked whether a path is theirs. Named here as well as in the entry
# points, so that a source tree that was never installed has them.
BUILT_IN = {
    "npy": "tensorvcs.formats.arrays:NPY",
    "npz": "tensorvcs.formats.arrays:NPZ",
    "hdf5": "tensorvcs.formats.hdf5:FORMAT",
    "csv": "tensorvcs.formats.csv_tables:FORMAT",
    "parquet": "tensorvcs.formats.parquet:FORMAT",
    "webdataset": "tensorvcs.formats.webdataset:FORMAT",
    "images": "tensorvcs.formats.images:FORMAT",
}

_log = logging.getLogger(__name__)


def _targets() -> dict[str, str]:
    """Return where each format is; a built-in one cannot be replaced."""
    others = {
        entry.name: entry.value
        for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
        if entry.name not in BUILT_IN
    }
    return BUILT_IN | others


def _load(name: str, target: str) -> Format:
    module, _, attribute = target.partition(":")
    try:
        return cast("Format", getattr(import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise FormatNotFoundError(
            f"the format {name!r} is installed but cannot be loaded: {error}"
        ) from error


def format_names() -> list[str]:
    """Return the names of all formats, without loading them."""
    return sorted(_targets())


def find_format(name: str) -> Format:
    """Return a format by its name or an alias, such as ``png``.

    Raises
    ------
    FormatNotFoundError
        There is none of that name, or its package cannot be imported.
    """
    targets = _targets()
    wanted = name.lower()
    if wanted in targets:
        return _load(wanted, targets[wanted])
    for found in _loadable(targets):
        if wanted in found.aliases:
            return found
    raise with_hint(
        FormatNotFoundError(f"there is no format {name!r}"),
        f"formats are {', '.join(sorted(targets))}",
    )


def _loadable(targets: dict[str, str]) -> list[Format]:
    """Load what can be loaded; a broken package must not stop the others."""
    formats = []
    for name, target in targets.items():
        try:
            formats.append(_load(name, target))
        except FormatNotFoundError as error:
            _log.warning("%s", error)
    return formats


def detect_format(source: Path) -> Format:
    """Return the format that a path looks like.

    Raises
    ------
    UnreadableFileError
        There is nothing at the path.
    FormatNotFoundError
        No format knows it.
    StorageError
        The path cannot be read.
    """
    if not source.exists():
        raise UnreadableFileError("there is no such file or folder", path=str(source))
    targets = _targets()
    try:
        for found in _loadable(targets):
            if found.detect(source):
                return found
    except OSError as error:
        raise StorageError(f"cannot read {source}: {error.strerror or error}") from error
    kind = "folder" if source.is_dir() else "file"
    raise with_hint(
        FormatNotFoundError(f"{source}: no format knows this {kind}"),
        f"formats are {', '.join(sorted(targets))}",
    )


def accepted(
    found: Format, columns: Sequence[ExportColumn], destination: Path
) -> list[ExportColumn]:
    """Return all columns when a format takes them together, else the only one it takes, or none."""
    if found.accepts(columns, destination):
        return list(columns)
    fitting = [column for column in columns if found.accepts([column], destination)]
    return fitting if len(fitting) == 1 else []


def detect_export_format(
    columns: Sequence[ExportColumn], destination: Path, *, is_subset_allowed: bool
) -> tuple[Format, list[ExportColumn]]:
    """Return the format to write columns in, and the columns it writes.

    The destination's extension decides, and where it has none, the columns. With
    `is_subset_allowed`, a format for one column may take the only one that fits.

    Raises
    ------
    FormatNotFoundError
    """
    targets = _targets()
    by_suffix = list(targets)
    # A destination without an extension is a folder: images where the values are images.
    by_suffix.sort(key=lambda name: name != "images")
    for found in _loadable({name: targets[name] for name in by_suffix}):
        chosen = accepted(found, columns, destination)
        if chosen and (is_subset_allowed or len(chosen) == len(columns)):
            return found, chosen
    names = ", ".join(column.name for column in columns)
    raise with_hint(
        FormatNotFoundError(f"{destination}: no format fits the columns {names}"),
        "name the format, or give the destination an extension such as .npz or .h5",
    )
