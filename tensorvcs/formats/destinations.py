"""File names for sample keys, and files that appear whole: what all exports share.

A key becomes a path below the destination whatever it holds: ``..``, a leading slash, a drive
letter, a name that Windows reserves or a control character is spelled in percent codes, as in a
URL. `key_of_path` reads the spelling back, so two keys never share a path.
"""

from __future__ import annotations

import os
import unicodedata
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote

from tensorvcs.errors import DestinationExistsError, StorageError, with_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from tensorvcs.objects.keys import Key

_MAX_PART_NBYTES = 200
# An empty part of a key, and the end of a part that goes on in the next; keys have no NUL.
_NOTHING = "%00"
_ILLEGAL = frozenset('<>:"|?*\\%') | {chr(code) for code in (*range(32), *range(127, 160))}
_RESERVED = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"]
    + [f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789\xb9\xb2\xb3"]
)


def path_of_key(key: Key) -> str:
    """Spell a key as a relative POSIX path that is legal and harmless on every system.

    >>> path_of_key("cats/1.png")
    'cats/1.png'
    >>> path_of_key("../../etc/passwd")
    '%2E%2E/%2E%2E/etc/passwd'
    """
    return "/".join(part for component in str(key).split("/") for part in _parts(component))


def key_of_path(path: str) -> str:
    """Return the text of the key that `path_of_key` spelled.

    >>> key_of_path("%2E%2E/%2E%2E/etc/passwd")
    '../../etc/passwd'
    """
    text = "".join(
        part[: -len(_NOTHING)] if part.endswith(_NOTHING) and part != _NOTHING else part + "/"
        for part in path.split("/")
    )
    return unquote(text.removesuffix("/").replace(_NOTHING, ""))


def _parts(component: str) -> Iterator[str]:
    """Spell what is between two slashes; a long one is cut into several folders."""
    if not component:
        yield _NOTHING
        return
    text = _safe_start("".join(percent(c) if c in _ILLEGAL else c for c in component))
    if text[-1] in ". ":
        text = text[:-1] + percent(text[-1])
    while len(text.encode()) > _MAX_PART_NBYTES:
        cut = _cut(text)
        yield text[:cut] + _NOTHING
        text = _safe_start(text[cut:])
    yield text


def _safe_start(text: str) -> str:
    """Spell the first character in percent codes where it makes a name hidden or reserved."""
    is_reserved = text.split(".", maxsplit=1)[0].rstrip(" ").upper() in _RESERVED
    return percent(text[0]) + text[1:] if is_reserved or text[0] in ". " else text


def _cut(text: str) -> int:
    """Return where to cut a long part: not within a percent code, nor behind a dot or space."""
    cut = len(text.encode()[: _MAX_PART_NBYTES - len(_NOTHING)].decode(errors="ignore"))
    for back in (1, 2):
        if text[cut - back] == "%":
            return cut - back
    return cut


def percent(text: str) -> str:
    """Spell all of a text in percent codes."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def folded(path: str) -> str:
    """Return what paths share that some file system takes for one file."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


class PathsTaken:
    """Gives each key a path of its own, also where case and Unicode spelling do not count.

    Parameters
    ----------
    paths : iterable of str
        All paths that will be asked for; their folders are taken.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._taken: set[str] = set()
        folders: set[str] = set()
        for path in paths:
            folder = path.rpartition("/")[0]
            while folder and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition("/")[0]
        self._taken = {folded(folder) for folder in folders}

    def is_free(self, path: str) -> bool:
        """Tell whether nobody has the path."""
        return folded(path) not in self._taken

    def take(self, path: str) -> str:
        """Take a path, or one that spells more of its characters in percent codes."""
        folder, slash, name = path.rpartition("/")
        letters = 0
        wanted = path
        while not self.is_free(wanted):
            letters += 1
            wanted = folder + slash + _percent_letters(name, letters)
        self._taken.add(folded(wanted))
        return wanted


def _percent_letters(name: str, count: int) -> str:
    """Spell the first `count` characters that are no percent codes in percent codes."""
    spelled = ""
    at = 0
    while at < len(name) and count:
        if name[at] == "%":
            spelled += name[at : at + 3]
            at += 3
        else:
            spelled += percent(name[at])
            at += 1
            count -= 1
    # Where no character is left, the mark of a part that goes on, with nothing behind it.
    return spelled + name[at:] + _NOTHING * count


def check_free(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Raise DestinationExistsError when a file is there already.

    With `overwrite`, files may be replaced, but a folder or a link never is.
    """
    for path in paths:
        if not os.path.lexists(path):
            continue
        if path.is_symlink() or not path.is_file():
            raise DestinationExistsError(f"{path} is there already and is no plain file")
        if not overwrite:
            raise with_hint(
                DestinationExistsError(f"{path} is there already"),
                "choose another destination, or overwrite=True (--overwrite)",
            )


def check_folders(root: Path, paths: Sequence[str]) -> None:
    """Raise DestinationExistsError when a folder on the way is a link, or is no folder."""
    folders: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    for folder in sorted(folders):
        place = root / folder
        if place.is_symlink():
            raise DestinationExistsError(f"{place} is a link; an export does not write through it")
        if place.exists() and not place.is_dir():
            raise DestinationExistsError(f"{place} is there already and is no folder")


@contextmanager
def partial_path(path: Path) -> Iterator[Path]:
    """Give a path to write a new file at, and rename it to `path` when the block ends well.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    partial = path.with_name(f".{path.name[:100]}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        yield partial
        partial.replace(path)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write that appears under its name only when it is whole.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    with partial_path(path) as partial, partial.open("xb") as file:
        yield file


def write_whole_files(
    contents: Iterable[tuple[Path, bytes]], progress: Callable[[int], None]
) -> int:
    """Write many small files, each whole or not at all; return their count."""
    count = 0
    for path, content in contents:
        with whole_file(path) as file:
            file.write(content)
        count += 1
        progress(1)
    return count
