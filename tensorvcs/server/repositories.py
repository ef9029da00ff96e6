"""The repositories below a folder, opened when they are asked for and shared by all who ask."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections import OrderedDict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tensorvcs.connections import Connection, open_connection
from tensorvcs.errors import (
    ClosedError,
    InvalidInputError,
    RepositoryNotFoundError,
    with_hint,
)
from tensorvcs.objects.commit import Timestamp
from tensorvcs.sync.service import Limits, Policy, Service

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

MAX_OPEN = 32
"""Of the repositories that nobody asks, so many stay open."""

_MAX_NAME_LENGTH = 400
# No hidden folder, no "..", nothing that a URL, a path or a log could take for something else.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


@dataclass(slots=True)
class _Open:
    connection: Connection
    service: Service
    use_count: int = 0
    upkeep: threading.Lock = field(default_factory=threading.Lock)


class Repositories:
    """The repositories below a folder, by name; threads may share it.

    Parameters
    ----------
    root : path
        A folder with repositories in it, at any depth. A repository itself is served alone,
        under the name of its folder.
    limits : Limits
    policy : Policy

    Raises
    ------
    RepositoryNotFoundError
        There is no such folder.
    InvalidInputError
        The name of the one repository cannot be in a URL.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        limits: Limits | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise RepositoryNotFoundError(f"there is no folder {self.root} to serve")
        self._limits = limits or Limits()
        self._policy = policy or Policy()
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, _Open] = OrderedDict()
        self._is_closed = False
        self.is_single = _marked_folder(self.root) is not None
        if self.is_single and not _NAME.fullmatch(self.root.name):
            raise with_hint(
                InvalidInputError(f"{self.root.name!r} cannot be the name of a served repository"),
                "rename the folder: letters, digits, '_', '-' and '.' are allowed",
            )

    @contextmanager
    def service(self, name: str) -> Iterator[Service]:
        """Give out the service of a repository; it stays open as long as the block runs.

        Raises
        ------
        RepositoryNotFoundError
            There is none of that name below the root, or the name is not legal: with `..`, a
            hidden part, or a link that leads out.
        """
        place = self._place(name)
        found = self._acquire(place, name)
        try:
            yield found.service
        finally:
            self._give_back(found)

    def upkeep(self, name: str) -> None:
        """Look after the packs of a repository that took something; not twice at a time."""
        place = self._place(name)
        found = self._acquire(place, name)
        try:
            if found.upkeep.acquire(blocking=False):
                try:
                    found.connection.upkeep()
                finally:
                    found.upkeep.release()
        finally:
            self._give_back(found)

    def close(self) -> None:
        """Close all; those that are in use when their last user is done."""
        with self._lock:
            self._is_closed = True
            self._close_idle(keep=0)

    def _place(self, name: str) -> Path:
        if len(name) <= _MAX_NAME_LENGTH and _NAME.fullmatch(name):
            place = self.root.parent / name if self.is_single else self.root / name
            try:
                real = place.resolve(strict=True)
                marked = _marked_folder(real)
            except (OSError, RuntimeError):  # a link to itself is the second
                raise _not_found(name) from None
            is_served = (real == self.root) == self.is_single and real.is_relative_to(self.root)
            if is_served and marked is not None and marked.is_relative_to(self.root):
                return real
        raise _not_found(name)

    def _acquire(self, place: Path, name: str) -> _Open:
        with self._lock:
            if self._is_closed:
                raise ClosedError("the server is ending")
            found = self._open.get(place)
            if found is None:
                try:
                    connection = open_connection(str(place))
                except RepositoryNotFoundError:
                    raise _not_found(name) from None
                service = Service(
                    connection.stores, connection.open_writer, _now, self._limits, self._policy
                )
                found = self._open[place] = _Open(connection, service)
            found.use_count += 1
            self._open.move_to_end(place)
            self._close_idle(keep=MAX_OPEN)
            return found

    def _give_back(self, found: _Open) -> None:
        with self._lock:
            found.use_count -= 1
            if self._is_closed:
                self._close_idle(keep=0)

    def _close_idle(self, keep: int) -> None:
        """Close those that nobody uses, the longest unused first, but for some."""
        for place, found in list(self._open.items()):
            if len(self._open) <= keep:
                return
            if not found.use_count:
                del self._open[place]
                found.connection.close()


def _marked_folder(folder: Path) -> Path | None:
    """Return the real folder that has the format file, or its copy, of the repository there."""
    for root in (folder / ".tensorvcs", folder):
        is_marked = any((root / name).is_file() for name in ("format.json", "format-copy.json"))
        if is_marked and (root / "lmdb").is_dir():
            return root.resolve(strict=True)
    return None


def has_repository(root: str | os.PathLike[str]) -> bool:
    """Tell whether a folder is a repository, or has one in it or in a folder in it.

    Deeper ones are served as well, but are not looked for, since that may take long.
    """
    place = Path(root)
    with suppress(OSError):
        for folder in chain([place], place.glob("*/"), place.glob("*/*/")):
            if _marked_folder(folder) is not None:
                return True
    return False


def _not_found(name: str) -> RepositoryNotFoundError:
    return RepositoryNotFoundError(f"there is no repository {name[:_MAX_NAME_LENGTH]!r}")


def _now() -> Timestamp:
    return Timestamp.of(dt.datetime.now().astimezone())
