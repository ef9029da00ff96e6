"""Samples in tar archives: files that follow each other and share a name up to its first dot.

An archive is read as a stream, from its first byte to its last, and nothing is unpacked to disk.
"""

from __future__ import annotations

import tarfile
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.errors import UnreadableFileError
from tensorvcs.formats.array_tables import damage_named
from tensorvcs.formats.folders import is_text, printable
from tensorvcs.formats.interfaces import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_MEMBER_NBYTES = 1 << 30
"""A larger file in an archive is passed over: one sample would fill the memory."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a sample.

    Attributes
    ----------
    name : str
        In the archive.
    key : str
        The name up to the first dot of its last part.
    field : str
        What follows that dot.
    where : str
        The archive and the name, for messages.
    content : bytes
    """

    name: str
    key: str
    field: str
    where: str
    content: bytes


class TarSamples:
    """The samples of some archives, in order; can be read more than once.

    Parameters
    ----------
    paths : sequence of str
        Tar archives, compressed by gzip, bzip2 or xz or not at all.

    Attributes
    ----------
    skipped : dict of str to Skipped
        Files that are no plain files or have odd names, by where they are.
    ignored_count : int
        Hidden files, and files without a field, in the last pass.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self.skipped: dict[str, Skipped] = {}
        self.ignored_count = 0

    def __iter__(self) -> Iterator[list[Member]]:
        """Yield the files of one sample after the other.

        Raises
        ------
        UnreadableFileError
            An archive is damaged, or cut off.

        Notes
        -----
        Memory is one sample.
        """
        self.ignored_count = 0
        for path in self._paths:
            sample: list[Member] = []
            for member in self._members(path):
                if sample and sample[0].key != member.key:
                    yield sample
                    sample = []
                sample.append(member)
            if sample:
                yield sample

    def _members(self, path: str) -> Iterator[Member]:
        with _damage_named(path):
            # As a stream: no seeking, and a member is read when it comes by.
            archive = tarfile.open(path, "r|*")  # noqa: SIM115 (closed below)
        with closing(archive):
            while True:
                with _damage_named(path):
                    found = archive.next()
                    # It would remember all of them.
                    archive.members.clear()  # type: ignore[attr-defined]
                    if found is None:
                        return
                    member = self._taken(archive, found, path)
                if member is not None:
                    yield member

    def _taken(self, archive: tarfile.TarFile, found: tarfile.TarInfo, path: str) -> Member | None:
        if found.isdir():
            return None
        name = found.name.removeprefix("./")
        where = f"{path}: {printable(name)}"
        folder, _, last = name.rpartition("/")
        stem, dot, field = last.partition(".")
        reason = _why_not(found, name)
        if reason is not None:
            self.skipped[where] = Skipped(where, reason)
            return None
        if not stem or not dot or not field:
            self.ignored_count += 1
            return None
        file = archive.extractfile(found)
        assert file is not None
        content = file.read()
        if len(content) != found.size:
            raise UnreadableFileError("it ends within a file", path=path)
        key = f"{folder}/{stem}" if folder else stem
        return Member(name, key, field.lower(), where, content)


@contextmanager
def _damage_named(path: str) -> Iterator[None]:
    """Turn what tarfile and the decompressors raise on damaged archives into our own error."""
    with damage_named(path):
        try:
            yield
        except tarfile.TarError as error:
            raise ValueError(str(error) or type(error).__name__) from error


def _why_not(found: tarfile.TarInfo, name: str) -> str | None:
    if found.issym() or found.islnk():
        return "it is a link"
    if not found.isreg():
        return "it is no plain file"
    if found.issparse():
        return "it is a file with holes"
    if not is_text(name):
        return "its name is not valid UTF-8"
    if name.startswith("/") or ".." in name.split("/"):
        return "its name leads out of the archive"
    if found.size > MAX_MEMBER_NBYTES:
        return f"its {found.size:,} bytes are more than the limit of {MAX_MEMBER_NBYTES:,}"
    return None
