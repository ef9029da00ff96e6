"""The folder of a repository: its paths, its format version, how it is made and recognised."""

from __future__ import annotations

import json
import logging
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.errors import (
    InvalidInputError,
    ObjectDamagedError,
    RepositoryExistsError,
    RepositoryNotFoundError,
    with_hint,
)
from tensorvcs.storage.durable import (
    alone_in,
    lock_shared,
    new_file,
    publish_folder,
    refusal,
    remove_leftovers,
    sync_folder,
    temporary_name,
    unfinished,
)
from tensorvcs.storage.format_file import (
    CHECK_FIELD,
    FORMAT_COPY_FILE,
    FORMAT_FILE,
    FORMAT_VERSION,
    Format,
    check_known,
    check_of,
    choose,
    encode_format,
    encode_json,
    has_right_check,
    judge,
    look_at,
    says_bare,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

FOLDER_NAME = ".tensorvcs"
SETTINGS_FILE = "config.json"
LMDB_FOLDER = "lmdb"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Folder:
    """The paths of one repository.

    Attributes
    ----------
    root : Path
        `.tensorvcs` of a working repository, or the folder of a bare one.
    is_bare : bool
    lmdb_name : str
        The folder of LMDB in it; another one while it is recovered.
    """

    root: Path
    is_bare: bool
    lmdb_name: str = LMDB_FOLDER

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
        return self.root / self.lmdb_name

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
                _forget_begun(path)
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
        raise refusal(f"cannot make a repository at {path}", error) from error
    return folder


def _fill_bare(
    folder: Folder, settings: Mapping[str, str], fill: Callable[[Folder], None] | None
) -> None:
    try:
        _fill_folder(folder, settings, fill)
        _write_format(folder)
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
    building, descriptor = begin_folder(folder.root)
    try:
        begun = Folder(building, is_bare=False)
        _fill_folder(begun, settings, fill)
        _write_format(begun)
        publish_folder(building, folder.root)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def begin_folder(root: Path) -> tuple[Path, int]:
    """Make a temporary folder beside `root` and lock it; return it with a descriptor of it.

    It is a leftover, which the next writer removes, as soon as the descriptor is closed.
    """
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


def _write_format(folder: Folder) -> None:
    """Write the copy of the format file, then the format file, with which a repository is whole.

    The format file stands under its temporary name before there is a copy, so that a bare
    repository that is begun is told from one whose format file was lost.
    """
    content = encode_format(Format(FORMAT_VERSION, (), folder.is_bare))
    try:
        with new_file(folder.root / FORMAT_FILE) as write:
            write(content)
            with new_file(folder.root / FORMAT_COPY_FILE) as write_copy:
                write_copy(content)
    except BaseException:
        if not (folder.root / FORMAT_FILE).exists():
            (folder.root / FORMAT_COPY_FILE).unlink(missing_ok=True)
        raise


def _is_begun(root: Path) -> bool:
    """Tell whether the format file of a bare repository is being written, or never was whole."""
    try:
        return not (root / FORMAT_FILE).exists() and bool(unfinished(root / FORMAT_FILE))
    except OSError:
        return False


def _forget_begun(path: Path) -> None:
    """Remove the copy that a bare `init` left which was killed behind it.

    Before the format file begins anew, since a copy alone would then pass for a repository.
    """
    if _is_begun(path):
        (path / FORMAT_COPY_FILE).unlink(missing_ok=True)


def is_vacant(path: Path, *, bare: bool) -> bool:
    """Tell whether a folder is missing or empty, but for what an `init` that was killed left."""
    if not path.exists():
        return True
    for name in (FOLDER_NAME, SETTINGS_FILE, FORMAT_COPY_FILE):
        remove_leftovers(path / name)
    names = {entry.name for entry in path.iterdir()}
    if not bare:
        return not names
    # What marks one that is begun stays, and its next writer removes it.
    names -= {left.name for left in unfinished(path / FORMAT_FILE)}
    order = ("packs", SETTINGS_FILE, "lmdb", FORMAT_COPY_FILE)
    is_begun = any(names == set(order[:count]) for count in range(len(order) + 1))
    return is_begun and not ("packs" in names and any((path / "packs").iterdir()))


def _remove_begun(path: Path) -> None:
    """Remove what a bare `init` that failed has made."""
    if (path / FORMAT_FILE).exists():
        return
    (path / FORMAT_COPY_FILE).unlink(missing_ok=True)
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
    found = _find(path)
    return None if found is None else found[0]


def _find(path: Path) -> tuple[Folder, bytes | None] | None:
    """Return the nearest repository, and its format file where that can be read."""
    for candidate in (path, *path.parents):
        for root, is_bare in ((candidate / FOLDER_NAME, False), (candidate, True)):
            marker = _content(root / FORMAT_FILE)
            if _is_marked_bare(root, marker) if is_bare else _is_marked(root, marker):
                return Folder(root, is_bare), marker
    return None


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _is_marked(root: Path, marker: bytes | None) -> bool:
    # A working one appears as a whole, so that a copy alone is left of one.
    return marker is not None or _content(root / FORMAT_COPY_FILE) is not None


def _is_marked_bare(root: Path, marker: bytes | None) -> bool:
    is_bare = None if marker is None else says_bare(marker)
    if is_bare:
        return True
    copy = _content(root / FORMAT_COPY_FILE)
    if copy is None:
        return False
    copy_is_bare = says_bare(copy)
    if marker is None:
        return copy_is_bare is True and not _is_begun(root)
    # Two files that nobody can read are no other program's: whoever opens it is told of them.
    are_damaged = is_bare is None and copy_is_bare is None and (root / "lmdb").is_dir()
    return copy_is_bare is True or are_damaged


def open_folder(path: Path) -> Folder:
    """Return the repository at or above `path`, its format checked.

    Raises
    ------
    RepositoryNotFoundError, UnsupportedFormatError, ObjectDamagedError
    """
    path = path.expanduser().absolute()
    found = _find(path)
    if found is None:
        raise with_hint(
            RepositoryNotFoundError(f"no repository at {path} or in a folder above it"),
            "make one with 'tvcs init', or name another folder",
        )
    folder, marker = found
    _check_format(folder, marker)
    return folder


def check_format(folder: Folder) -> None:
    """Raise unless this version can read and write the repository.

    Raises
    ------
    UnsupportedFormatError
        The version or a feature is from the future.
    ObjectDamagedError
        Neither the format file nor its copy can be relied upon.

    Notes
    -----
    Reads one small file; the copy only when that has no right checksum, which is logged.
    """
    _check_format(folder, _content(folder.root / FORMAT_FILE))


def _check_format(folder: Folder, marker: bytes | None) -> None:
    file = folder.root / FORMAT_FILE
    main = look_at(file) if marker is None else judge(file, marker)
    chosen = main
    if not main.is_checked:
        chosen = choose(main, look_at(folder.root / FORMAT_COPY_FILE))
    assert chosen.format is not None
    check_known(chosen.format, folder.path)
    if chosen is not main:
        _log.warning(
            "the format file %s is damaged (%s), and its copy is used; mend it: "
            "tvcs verify --repair",
            file,
            main.problem or "it has no checksum",
        )


def read_settings(folder: Folder) -> dict[str, str]:
    """Return the options kept with the repository, by dotted name.

    Raises
    ------
    ObjectDamagedError
        The file cannot be read, or is not what was written: it was damaged, or edited by hand.
        Without its checksum, as older versions wrote it, it is taken as it is.
    """
    file = folder.settings_file
    try:
        fields = json.loads(file.read_bytes())
        if not isinstance(fields, dict):
            raise ObjectDamagedError(f"{file} holds no JSON object")
        # Options have a dot in their names: what has none, and is no text, is the checksum, or
        # was it before its name was damaged. An older version keeps it as a text: that is none.
        checks = [n for n, value in fields.items() if "." not in n and not isinstance(value, str)]
        is_right = not checks or (checks == [CHECK_FIELD] and has_right_check(fields))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ObjectDamagedError(f"{file} cannot be read: {error}") from error
    if not is_right:
        raise with_hint(
            ObjectDamagedError(f"{file} was damaged, or edited by hand: its checksum is wrong"),
            "look through its options, and remove the line of "
            f"{checks[0]!r} to have them taken as they are",
        )
    return {name: str(value) for name, value in fields.items() if name != CHECK_FIELD}


@contextmanager
def changing_settings(folder: Folder) -> Iterator[dict[str, str]]:
    """Yield the options to change; when the block ends they replace those that were there.

    Other processes and threads that change them wait meanwhile, so that no change is lost. An
    error inside the block leaves them as they were.
    """
    with alone_in(folder.root):
        settings = read_settings(folder)
        yield settings
        write_settings(folder, settings)


def write_settings(folder: Folder, settings: Mapping[str, str]) -> None:
    """Replace the options kept with the repository, in one visible step.

    Raises
    ------
    StorageError
        The file system refused; the options stay as they were.
    """
    fields = dict(sorted(settings.items()))
    with new_file(folder.settings_file) as write:
        write(encode_json({CHECK_FIELD: check_of(fields), **fields}))
