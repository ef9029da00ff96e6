"""The format of a repository: a small file and a copy of it, of which one is enough."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import (
    ObjectDamagedError,
    StorageError,
    UnsupportedFormatError,
    with_hint,
)
from tensorvcs.storage.durable import (
    alone_in,
    publish,
    refusal,
    remove_leftovers,
    temporary_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORMAT_FILE = "format.json"
FORMAT_COPY_FILE = "format-copy.json"
FORMAT_NAME = "tensorvcs"
FORMAT_VERSION = 1
KNOWN_FEATURES: frozenset[str] = frozenset()
CHECK_FIELD = "crc32"

_REPAIR_HINT = "mend it from the other one: tvcs verify --repair"
# Not the temporary name of the format file, by which a bare repository that is begun is known.
_MENDED = "mended-format.json"


@dataclass(frozen=True, slots=True)
class Format:
    """What a repository says of itself.

    Attributes
    ----------
    version : int
        From 1.
    features : tuple of str
        What a program must know to work with the repository.
    is_bare : bool
    """

    version: int
    features: tuple[str, ...]
    is_bare: bool


@dataclass(frozen=True, slots=True)
class FormatFile:
    """The format file, or its copy, as it was found.

    Attributes
    ----------
    path : Path
    content : bytes
        Empty when there is no file or it cannot be read.
    format : Format or None
        What it says; None when it is missing or damaged.
    is_checked : bool
        Whether it has a checksum, which is right. Those of older versions have none.
    is_there : bool
    problem : str
        What is wrong with it, empty when nothing is.
    """

    path: Path
    content: bytes = b""
    format: Format | None = None
    is_checked: bool = False
    is_there: bool = True
    problem: str = ""


def encode_format(described: Format) -> bytes:
    """Return the content of a format file: JSON with the checksum of its other fields."""
    fields = {
        "format": FORMAT_NAME,
        "version": described.version,
        "features": list(described.features),
        "bare": described.is_bare,
    }
    return encode_json(fields | {CHECK_FIELD: check_of(fields)})


def encode_json(fields: Mapping[str, Any]) -> bytes:
    """Return JSON as people like to read it, with a line feed at the end."""
    return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()


def check_of(fields: Mapping[str, Any]) -> int:
    """Return the CRC-32 of the canonical JSON of all fields but the checksum itself.

    The spelling of the file does not count: names are sorted, and nothing is between the parts.
    """
    others = {name: value for name, value in fields.items() if name != CHECK_FIELD}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Half a surrogate, which no encoder of ours writes, has a checksum as well.
    return zlib.crc32(text.encode(errors="surrogatepass"))


def has_right_check(fields: Mapping[str, Any]) -> bool:
    """Tell whether the checksum among some fields is that of the others."""
    check = fields[CHECK_FIELD]
    return type(check) is int and check == check_of(fields)


def look_at(path: Path) -> FormatFile:
    """Read the format file, or its copy, and tell what is wrong with it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return FormatFile(path, is_there=False, problem="it is missing")
    except OSError as error:
        return FormatFile(path, problem=f"it cannot be read: {error}")
    return judge(path, content)


def judge(path: Path, content: bytes) -> FormatFile:
    """Decode the content of the format file or of its copy, and tell what is wrong with it."""
    try:
        fields = json.loads(content)
        if not isinstance(fields, dict):
            return FormatFile(path, content, problem="it holds no JSON object")
        is_checked = CHECK_FIELD in fields
        if is_checked and not has_right_check(fields):
            return FormatFile(path, content, problem="its checksum is wrong")
        described = _format_of(fields, is_strict=is_checked)
    except (ValueError, RecursionError) as error:
        return FormatFile(path, content, problem=f"it cannot be read: {str(error)[:200]}")
    except ObjectDamagedError as error:
        return FormatFile(path, content, problem=error.problem)
    return FormatFile(path, content, described, is_checked=is_checked)


def _format_of(fields: Mapping[str, Any], *, is_strict: bool) -> Format:
    version, features = fields.get("version"), fields.get("features")
    if type(version) is not int or version < 1:
        raise ObjectDamagedError(f"it has the version {version!r:.40}")
    if not isinstance(features, list) or not all(isinstance(name, str) for name in features):
        raise ObjectDamagedError(f"it has the features {features!r:.40}")
    is_ours = fields.get("format") == FORMAT_NAME
    if is_strict and not (is_ours and isinstance(fields.get("bare"), bool)):
        raise ObjectDamagedError("it is not that of a repository")
    return Format(version, tuple(features), is_bare=is_ours and fields.get("bare") is True)


def says_bare(content: bytes) -> bool | None:
    """Tell whether a format file says that its folder is a bare repository.

    None when it cannot be told. Of a damaged file too, since that has a copy.
    """
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.get("format") != FORMAT_NAME:
        return None
    bare = fields.get("bare")
    return bare if isinstance(bare, bool) else None


def choose(main: FormatFile, copy: FormatFile) -> FormatFile:
    """Return the one of the format file and its copy that holds.

    A file whose checksum is right holds, the format file before the copy. Whoever raises the
    version or adds a feature writes the copy first: so the copy is never behind, and one who falls
    back to it may refuse what the format file allows, but never allow what it refuses.

    A format file without a checksum, as older versions wrote it, holds where there is no copy.
    Where there is one, its checksum was damaged, and the copy holds unless they contradict.

    Raises
    ------
    ObjectDamagedError
        Neither can be relied upon.
    UnsupportedFormatError
        A format file without a checksum is from the future, and its copy does not say so.
    """
    if main.is_checked:
        return main
    if main.format is not None and not copy.is_there:
        return main
    if copy.is_checked and main.format in (None, copy.format):
        return copy
    if main.format is not None:
        check_known(main.format, main.path.parent)
    if copy.is_checked:
        problem = (
            f"the format file {main.path} has no checksum and contradicts its copy {copy.path}"
        )
    elif main.format is not None:
        problem = (
            f"the format file {main.path} has no checksum, and its copy {copy.path} cannot help: "
            f"{_problem_of_copy(copy)}"
        )
    else:
        problem = (
            f"the format file {main.path} is damaged: {main.problem}; its copy {copy.path} cannot "
            f"help: {_problem_of_copy(copy)}"
        )
    raise with_hint(
        ObjectDamagedError(problem),
        "the two files hold nothing but the version: take them from a backup, or from what "
        "'tvcs init' (or 'tvcs init --bare') of the same version of TensorVCS makes elsewhere",
    )


def _problem_of_copy(copy: FormatFile) -> str:
    return copy.problem or "it has no checksum either"


def check_known(described: Format, path: Path) -> None:
    """Raise UnsupportedFormatError unless this version can read and write such a repository."""
    hint = "install a newer TensorVCS: pip install -U tensorvcs"
    if described.version > FORMAT_VERSION:
        raise with_hint(
            UnsupportedFormatError(
                f"the repository {path} has format version {described.version}; "
                f"this TensorVCS knows versions up to {FORMAT_VERSION}"
            ),
            hint,
        )
    unknown = sorted(set(described.features) - KNOWN_FEATURES)
    if unknown:
        raise with_hint(
            UnsupportedFormatError(
                f"the repository {path} uses features this TensorVCS does not know: "
                + ", ".join(unknown)
            ),
            hint,
        )


def format_problems(root: Path) -> Iterator[tuple[str, ObjectDamagedError]]:
    """Yield the format file and its copy, by name, where one is damaged, missing, or differs.

    A repository of an older version, without checksum and copy, has no problem.
    """
    main, copy = look_at(root / FORMAT_FILE), look_at(root / FORMAT_COPY_FILE)
    if main.format is not None and not main.is_checked and not copy.is_there:
        return
    for file in (main, copy):
        problem = file.problem
        if not problem and not file.is_checked:
            problem = "it has no checksum"
        if not problem and file is copy and main.is_checked and main.format != copy.format:
            problem = f"it says another format than {FORMAT_FILE}"
        if problem:
            yield file.path.name, with_hint(ObjectDamagedError(problem), _REPAIR_HINT)


def mend_format(root: Path) -> list[str]:
    """Write the format file anew from its copy, or the copy from it; return the names written.

    What an older version made without checksum and copy gets both.

    Raises
    ------
    ObjectDamagedError, UnsupportedFormatError
        Neither can be relied upon, as in `choose`; nothing is changed.
    StorageError
        The disk refused.
    """
    try:
        with alone_in(root):
            # Left by one that was killed.
            remove_leftovers(root / _MENDED)
            main, copy = look_at(root / FORMAT_FILE), look_at(root / FORMAT_COPY_FILE)
            chosen = choose(main, copy)
            assert chosen.format is not None
            check_known(chosen.format, root)
            content = chosen.content if chosen.is_checked else encode_format(chosen.format)
            # The copy first, as `choose` relies on.
            written = [
                file for file in (copy, main) if not file.is_checked or file.format != chosen.format
            ]
            for file in written:
                _replace(file.path, content)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise refusal(f"cannot mend {root / FORMAT_FILE}", error) from error
    return [file.path.name for file in written]


def _replace(path: Path, content: bytes) -> None:
    temporary = temporary_name(path.with_name(_MENDED))
    try:
        temporary.write_bytes(content)
        publish(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
