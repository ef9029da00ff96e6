"""How many files a process may have open: more, when it meets the limit."""

from __future__ import annotations

import errno
import resource
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def with_room(open_file: Callable[[], T]) -> T:
    """Open a file; where the process has too many open, let it have more and try once again.

    Raises
    ------
    OSError
        Of the call; errno EMFILE when the system allows no more files either.

    Notes
    -----
    Each pack that is read keeps one open, and terabytes have more packs than the 1,024 files that a
    process may have unless it asks. So it asks for all that the system allows it, as the runtime of
    Go does; not at the start, since programs that call select() cope with no more.
    """
    try:
        return open_file()
    except OSError as error:
        if error.errno != errno.EMFILE or not _raise_limit():
            raise
    return open_file()


def _raise_limit() -> bool:
    """Let this process have as many files open as it may; tell whether that is more than before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return True
