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
from tensorvcs.storage.durable import (
    alone_in,
    lock_shared,
    new_file,
    publish_folder,
    remove_leftovers,
    sync_folder,
    temporary_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FOLDER_NAME = ".tensorvcs"
FORMAT_FILE = "format.json"
SETTINGS_FILE = "config.json"
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
        return self.root / SETTINGS_FILE

    @property
    def lmdb_folder(self) -> Path:
        """Index, objects and refs."""
        return self.root / "lmdb"

    @property
    def leases_folder(self) -> Path:
        """The locks of work in progress, and of what is being read."""
        return self.root / "leases"

    @property
    def orphan_ages_file(self) -> Path:
        """Since when garbage is garbage."""
        return self.root / "orphan-ages"

    @property
    def lock_file(self) -> Path:
        """The lock of the working staging area."""
        return self.root / "staging.lock"


def create_folder(
    path: Path,
    *,
    bare: bool,
    settings: Mapping[str, str] | None = None,
    fill: Callable[[Folder], None] | None = None,
) -> Folder:
    """Make the folder of a repository at `path`, in one visible step.

    Parameters
    ----------
    path : Path
        Made when it is missing.
    bare : bool
    settings : mapping of str to str, optional
        The options to begin with.
    fill : callable, optional
        Puts into the folder, which is not yet where it will be, what a repository begins with.

    Raises
    ------
    RepositoryExistsError
        A repository is at `path` or above it.
    InvalidInputError
        `path` is a file.
    StorageError
        The file system refused.

    Notes
    -----
    A process that dies on the way leaves no repository, and nothing that keeps the next one from
    making it.
    """
    path = path.expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise InvalidInputError(f"{path} is a file; a repository needs a folder")
    _check_no_repository(path)
    made = _first_missing(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if bare:
            # The folder stays the one that it is, since somebody may be in it.
            folder = Folder(path, is_bare=True)
            with alone_in(path):
                # Another process may have been quicker.
                _check_no_repository(path)
                if not is_vacant(path, bare=True):
                    raise InvalidInputError(
                        f"{path} is not empty; a bare repository needs an empty folder"
                    )
                _fill_bare(folder, settings or {}, fill)
        else:
            folder = Folder(path / FOLDER_NAME, is_bare=False)
            _build_folder(folder, settings or {}, fill)
        if made is not None:
            _sync_names(path, made)
    except OSError as error:
        # Another process may have been quicker.
        _check_no_repository(path)
        _remove_empty(path, made)
        raise StorageError(f"cannot make a repository at {path}: {error}") from error
    return folder


def _fill_bare(
    folder: Folder, settings: Mapping[str, str], fill: Callable[[Folder], None] | None
) -> None:
    try:
        _fill_folder(folder, settings, fill)
        with new_file(folder.root / FORMAT_FILE) as write:
            write(_format_of(bare=True))
    except OSError:
        _remove_begun(folder.root)
        raise


def _check_no_repository(path: Path) -> None:
    existing = find_folder(path)
    if existing is not None:
        place = "is" if existing.path == path else "lies inside"
        raise with_hint(
            RepositoryExistsError(f"{path} {place} the repository {existing.path}"),
            "open that one, or choose a folder outside of it",
        )


def _build_folder(
    folder: Folder, settings: Mapping[str, str], fill: Callable[[Folder], None] | None
) -> None:
    """Make a folder under another name, and rename it when it is whole."""
    remove_leftovers(folder.root)
    building, descriptor = _begin_building(folder.root)
    try:
        _fill_folder(Folder(building, is_bare=False), settings, fill)
        with new_file(building / FORMAT_FILE) as write:
            write(_format_of(bare=False))
        publish_folder(building, folder.root)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def _begin_building(root: Path) -> tuple[Path, int]:
    """Make a temporary folder beside `root` and lock it, with a descriptor of it."""
    while True:
        building = temporary_name(root)
        building.mkdir()
        # Another process that begins takes it for a leftover until it is locked.
        with suppress(FileNotFoundError):
            descriptor = os.open(building, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if lock_shared(descriptor):
                return building, descriptor
            os.close(descriptor)


def _fill_folder(
    folder: Folder, settings: Mapping[str, str], fill: Callable[[Folder], None] | None
) -> None:
    # In this order, which `is_vacant` relies on.
    (folder.root / "packs").mkdir(exist_ok=True)
    write_settings(folder, settings)
    folder.lmdb_folder.mkdir(exist_ok=True)
    if fill is not None:
        fill(folder)


def _format_of(*, bare: bool) -> bytes:
    return _json({"format": FORMAT_NAME, "version": FORMAT_VERSION, "features": [], "bare": bare})


def is_vacant(path: Path, *, bare: bool) -> bool:
    """Tell whether a folder is missing or empty, but for what an `init` that was killed left."""
    if not path.exists():
        return True
    for name in (FOLDER_NAME, SETTINGS_FILE, FORMAT_FILE):
        remove_leftovers(path / name)
    names = {entry.name for entry in path.iterdir()}
    if not bare:
        return not names
    order = ("packs", SETTINGS_FILE, "lmdb")
    is_begun = any(names == set(order[:count]) for count in range(len(order) + 1))
    return is_begun and not ("packs" in names and any((path / "packs").iterdir()))


def _remove_begun(path: Path) -> None:
    """Remove what a bare `init` that failed has made."""
    if (path / FORMAT_FILE).exists():
        return
    for name in ("lmdb", "packs"):
        shutil.rmtree(path / name, ignore_errors=True)
    (path / SETTINGS_FILE).unlink(missing_ok=True)


def _sync_names(path: Path, made: Path) -> None:
    """Sync the names of the folders from `made` down to `path`."""
    for folder in (path, *path.parents):
        sync_folder(folder.parent)
        if folder == made:
            return


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
    except (ValueError, RecursionError):
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
        version, features = fields["version"], fields["features"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ObjectDamagedError(f"the format file {file} cannot be read: {error}") from error
    if type(version) is not int or version < 1:
        raise ObjectDamagedError(f"the format file {file} has the version {version!r:.40}")
    if not isinstance(features, list) or not all(isinstance(name, str) for name in features):
        raise ObjectDamagedError(f"the format file {file} has the features {features!r:.40}")
    if version > FORMAT_VERSION:
        raise with_hint(
            UnsupportedFormatError(
                f"the repository {folder.path} has format version {version}; "
                f"this TensorVCS knows versions up to {FORMAT_VERSION}"
            ),
            "install a newer TensorVCS: pip install -U tensorvcs",
        )
    unknown = sorted(set(features) - KNOWN_FEATURES)
    if unknown:
        raise with_hint(
            UnsupportedFormatError(
                f"the repository {folder.path} uses features this TensorVCS does not know: "
                + ", ".join(unknown)
            ),
            "install a newer TensorVCS: pip install -U tensorvcs",
        )


def read_settings(folder: Folder) -> dict[str, str]:
    """Return the options kept with the repository, by dotted name."""
    try:
        fields = json.loads(folder.settings_file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ObjectDamagedError(f"{folder.settings_file} cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise ObjectDamagedError(f"{folder.settings_file} holds no JSON object")
    return {str(name): str(value) for name, value in fields.items()}


def write_settings(folder: Folder, settings: Mapping[str, str]) -> None:
    """Replace the options kept with the repository, in one visible step.

    Raises
    ------
    StorageError
        The file system refused; the options stay as they were.
    """
    with new_file(folder.settings_file) as write:
        write(_json(dict(sorted(settings.items()))))


def _json(fields: dict[str, Any]) -> bytes:
    return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()
