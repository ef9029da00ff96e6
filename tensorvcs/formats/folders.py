"""Files below a folder: found without following links, and named as sample keys."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tensorvcs.errors import DuplicateKeyError, StorageError
from tensorvcs.formats.interfaces import Skipped

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from tensorvcs.formats.interfaces import KeyFrom
    from tensorvcs.objects.keys import Key


@dataclass(slots=True)
class Found:
    """The files of one sort below a folder.

    Attributes
    ----------
    paths : list of str
        Where they are, to open them.
    names : list of str
        Their POSIX paths below the folder, sorted by code point, so in key order.
    skipped : list of Skipped
        Files of that sort which are no plain files or whose names are no text.
    ignored_count : int
        Files of other sorts, and hidden files and folders.
    """

    paths: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ignored_count: int = 0


def find_files(source: Path, extensions: Collection[str]) -> Found:
    """Find the files with one of some extensions at or below a path.

    Links are not followed, hidden files (``.name``) are ignored, and names are taken as they are,
    without normalisation.

    Parameters
    ----------
    source : Path
        A folder, or one file.
    extensions : collection of str
        Lower case, with the dot.

    Raises
    ------
    StorageError
        A folder cannot be listed.
    """
    found = Found()
    if not source.is_dir():
        found.paths.append(str(source))
        found.names.append(source.name)
        return found
    pairs: list[tuple[str, str]] = []
    folders = [(str(source), "")]
    while folders:
        folder, prefix = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    _sort_out(entry, prefix, extensions, found, folders, pairs)
        except OSError as error:
            raise StorageError(f"cannot list the folder {folder}: {error.strerror}") from error
    pairs.sort()
    found.names = [name for name, _ in pairs]
    found.paths = [path for _, path in pairs]
    found.skipped.sort(key=lambda skipped: skipped.path)
    return found


def _sort_out(
    entry: os.DirEntry[str],
    prefix: str,
    extensions: Collection[str],
    found: Found,
    folders: list[tuple[str, str]],
    pairs: list[tuple[str, str]],
) -> None:
    name = prefix + entry.name
    if entry.name.startswith("."):
        found.ignored_count += 1
    elif entry.is_dir(follow_symlinks=False):
        folders.append((entry.path, name + "/"))
    elif os.path.splitext(entry.name)[1].lower() not in extensions:  # noqa: PTH122 (a hot path)
        if entry.is_symlink() and entry.is_dir():
            found.skipped.append(Skipped(printable(name), "it is a link to a folder"))
        else:
            found.ignored_count += 1
    elif not is_text(name):
        found.skipped.append(Skipped(printable(name), "its name is not valid UTF-8"))
    elif entry.is_symlink():
        found.skipped.append(Skipped(name, "it is a link"))
    elif not entry.is_file(follow_symlinks=False):
        found.skipped.append(Skipped(name, "it is no plain file"))
    else:
        pairs.append((name, entry.path))


def is_text(name: str) -> bool:
    """Tell whether a file name is valid Unicode."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(name: str) -> str:
    """Return a file name with what is no text spelled as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def keys_of(names: Sequence[str], key_from: KeyFrom) -> list[Key]:
    """Return the sample keys of files.

    Raises
    ------
    DuplicateKeyError
        Two files have one key.
    """
    if key_from == "number":
        return list(range(len(names)))
    if key_from == "path":
        return list(names)
    if key_from == "name":
        keys = [name.rpartition("/")[2] for name in names]
    else:
        keys = [os.path.splitext(name)[0] for name in names]  # noqa: PTH122 (a hot path)
    first: dict[str, str] = {}
    for key, name in zip(keys, names, strict=True):
        if key in first:
            raise DuplicateKeyError(
                f"with key_from={key_from!r}, {first[key]!r} and {name!r} have one key, {key!r}"
            )
        first[key] = name
    return list(keys)


def folder_of(name: str) -> str:
    """Return the name of the folder that holds a file; empty at the top."""
    return name.rpartition("/")[0].rpartition("/")[2]
