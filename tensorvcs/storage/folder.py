"""The folder of a repository: its paths, its format version, how it is made and recognised."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import (
    InvalidInputError,
    ObjectDamagedError,
    RepositoryExistsError,
    RepositoryNotFoundError,
    StorageError,
    UnsupportedFormatError,
    with_hint,
)
from tensorvcs.storage.durable import sync_file, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

FOLDER_NAME = ".tensorvcs"
FORMAT_FILE = "format.json"
FORMAT_NAME = "tensorvcs"
FORMAT_VERSION = 1
KNOWN_FEATURES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Folder:
    """The paths of one repository.

    Attributes
    ----------
    root : Path
        `.tensorvcs` of a working repository, or the folder of a bare one.
    is_bare : bool
    """

    root: Path
    is_bare: bool

    @property
    def path(self) -> Path:
        """What a user calls the repository: the folder that holds `.tensorvcs`, or itself."""
        return self.root if self.is_bare else self.root.parent

    @property
    def settings_file(self) -> Path:
        """Options and remotes."""
        return self.root / "config.json"

    @property
    def lmdb_folder(self) -> Path:
        """Index, objects and refs."""
        return self.root / "lmdb"

    @property
    def lock_file(self) -> Path:
        """The lock of the working staging area."""
        return self.root / "staging.lock"


def create_folder(path: Path, *, bare: bool) -> Folder:
    """Make the empty folder of a repository at `path`, in one visible step.

    Raises
    ------
    RepositoryExistsError
        A repository is at `path` or above it.
    InvalidInputError
        `path` is a file.
    StorageError
        The file system refused.
    """
    path = path.expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise InvalidInputError(f"{path} is a file; a repository needs a folder")
    existing = find_folder(path)
    if existing is not None:
        place = "is" if existing.path == path else "lies inside"
        raise with_hint(
            RepositoryExistsError(f"{path} {place} the repository {existing.path}"),
            "open that one, or choose a folder outside of it",
        )
    root = path if bare else path / FOLDER_NAME
    leftover = f"{FOLDER_NAME}.new-"
    if bare and path.exists() and any(not e.name.startswith(leftover) for e in path.iterdir()):
        raise InvalidInputError(f"{path} is not empty; a bare repository needs an empty folder")
    made = _first_missing(path)
    building = path / f"{leftover}{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if building.exists():
            shutil.rmtree(building)
        building.mkdir()
        for name in ("lmdb", "packs"):
            (building / name).mkdir()
        _write_json(building / "config.json", {})
        _write_json(
            building / FORMAT_FILE,
            {"format": FORMAT_NAME, "version": FORMAT_VERSION, "features": [], "bare": bare},
        )
        sync_folder(building)
        if bare:
            # The folder stays the one that it is, since somebody may be in it.
            for name in ("lmdb", "packs", "config.json", FORMAT_FILE):
                (building / name).replace(root / name)
            building.rmdir()
        else:
            building.replace(root)
        sync_folder(root)
        sync_folder(root.parent)
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        if bare:
            for name in ("lmdb", "packs"):
                shutil.rmtree(root / name, ignore_errors=True)
            (root / "config.json").unlink(missing_ok=True)
        _remove_empty(path, made)
        raise StorageError(f"cannot make a repository at {path}: {error}") from error
    return Folder(root, bare)


def _first_missing(path: Path) -> Path | None:
    missing = None
    while not path.exists():
        missing = path
        path = path.parent
    return missing


def _remove_empty(path: Path, made: Path | None) -> None:
    """Remove `path` and the folders above it up to `made`, as far as nobody has filled them."""
    with suppress(OSError):
        while made is not None:
            path.rmdir()
            if path == made:
                return
            path = path.parent


def find_folder(path: Path) -> Folder | None:
    """Return the repository at `path` or in the nearest folder above it, or None."""
    for candidate in (path, *path.parents):
        for root, is_bare in ((candidate / FOLDER_NAME, False), (candidate, True)):
            if _is_marked(root, bare=is_bare):
                return Folder(root, is_bare)
    return None


def _is_marked(root: Path, *, bare: bool) -> bool:
    try:
        marker = (root / FORMAT_FILE).read_bytes()
    except OSError:
        return False
    if not bare:
        return True
    try:
        fields = json.loads(marker)
    except ValueError:
        return False
    return (
        isinstance(fields, dict)
        and fields.get("format") == FORMAT_NAME
        and fields.get("bare") is True
    )


def open_folder(path: Path) -> Folder:
    """Return the repository at or above `path`, its format checked.

    Raises
    ------
    RepositoryNotFoundError, UnsupportedFormatError, ObjectDamagedError
    """
    path = path.expanduser().absolute()
    folder = find_folder(path)
    if folder is None:
        raise with_hint(
            RepositoryNotFoundError(f"no repository at {path} or in a folder above it"),
            "make one with 'tvcs init', or name another folder",
        )
    check_format(folder)
    return folder


def check_format(folder: Folder) -> None:
    """Raise unless this version can read and write the repository.

    Raises
    ------
    UnsupportedFormatError
        The version or a feature is from the future.
    ObjectDamagedError
        The format file cannot be read.
    """
    file = folder.root / FORMAT_FILE
    try:
        fields = json.loads(file.read_bytes())
        version, features = int(fields["version"]), set(fields["features"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ObjectDamagedError(f"the format file {file} cannot be read: {error}") from error
    if version > FORMAT_VERSION:
        raise with_hint(
            UnsupportedFormatError(
                f"the repository {folder.path} has format version {version}; "
                f"this TensorVCS knows versions up to {FORMAT_VERSION}"
            ),
            "install a newer TensorVCS: pip install -U tensorvcs",
        )
    unknown = sorted(features - KNOWN_FEATURES)
    if unknown:
        raise with_hint(
            UnsupportedFormatError(
                f"the repository {folder.path} uses features this TensorVCS does not know: "
                + ", ".join(map(str, unknown))
            ),
            "install a newer TensorVCS: pip install -U tensorvcs",
        )


def read_settings(folder: Folder) -> dict[str, str]:
    """Return the options kept with the repository, by dotted name."""
    try:
        fields = json.loads(folder.settings_file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ObjectDamagedError(f"{folder.settings_file} cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise ObjectDamagedError(f"{folder.settings_file} holds no JSON object")
    return {str(name): str(value) for name, value in fields.items()}


def write_settings(folder: Folder, settings: dict[str, str]) -> None:
    """Replace the options kept with the repository, in one visible step."""
    replacement = folder.settings_file.with_suffix(".new")
    try:
        _write_json(replacement, dict(sorted(settings.items())))
        replacement.replace(folder.settings_file)
        sync_folder(folder.root)
    except OSError as error:
        raise StorageError(f"cannot write {folder.settings_file}: {error}") from error


def _write_json(file: Path, fields: dict[str, Any]) -> None:
    file.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sync_file(file)
