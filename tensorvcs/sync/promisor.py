"""The promisor: supplies what a partial clone left out, when it is read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tensorvcs.errors import (
    ObjectNotFoundError,
    PromisorAwayError,
    RemoteError,
    RepositoryNotFoundError,
    StorageError,
    with_hint,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import ObjectStore, Stores, TensorStore
    from tensorvcs.sync.remotes import Remote


class Promisor:
    """A remote that has everything that is not here.

    Parameters
    ----------
    remote : Remote
    connect : callable, optional
        Open the stores of the remote; called when something is read for the first time, in each
        process. Picklable, so that checkouts are. Without one nothing is fetched, and an error
        says what to do.

    Notes
    -----
    Whatever keeps a value from being supplied is an ObjectNotFoundError, as it would be in a
    repository that has no promisor: code that can do without the value catches that alone.
    """

    def __init__(self, remote: Remote, connect: Callable[[], Stores] | None) -> None:
        self._remote = remote
        self._connect = connect
        self._source: Stores | None = None

    def __reduce__(self) -> tuple[type[Promisor], tuple[Remote, Callable[[], Stores] | None]]:
        return Promisor, (self._remote, self._connect)

    def supply_objects(self, store: ObjectStore, digests: Sequence[bytes]) -> None:
        """Put objects into a store.

        Raises
        ------
        PromisorAwayError
            The remote does not answer, or refuses.
        ObjectNotFoundError
            It has not got them either, or nothing is to be fetched.
        """
        what = _count_text(len(digests), "tree node")
        with self._source_of(what) as source:
            contents = source.objects.get(digests)
        store.put(contents)

    def supply_values(self, store: TensorStore, digests: NDArray[np.uint8]) -> None:
        """Have a store take values; raises what `supply_objects` does."""
        what = _count_text(len(digests), "value")
        with self._source_of(what) as source:
            parts = source.tensors.stored(digests)
        while True:
            # What the store here raises has nothing to do with the remote.
            with self._source_of(what):
                part = next(parts, None)
            if part is None:
                return
            store.take(part)

    @contextmanager
    def _source_of(self, what: str) -> Iterator[Stores]:
        """Give the stores of the remote, and say of what fails there which remote it was."""
        if self._connect is None:
            raise self._not_fetched(what)
        try:
            source = self._source
            if source is None:
                source = self._source = self._connect()
            yield source
        except ObjectNotFoundError as error:
            raise self._nowhere(what, error) from error
        except (RemoteError, RepositoryNotFoundError, StorageError) as error:
            # The next read connects anew.
            self._source = None
            raise self._away(what, error) from error

    @property
    def _place(self) -> str:
        return f"remote {self._remote.name!r} at {self._remote.shown_url}"

    def _not_fetched(self, what: str) -> ObjectNotFoundError:
        name, depth = self._remote.name, self._remote.filter.depth
        older = "" if depth is None else f", or older versions with 'tvcs fetch {name} --depth N'"
        return with_hint(
            ObjectNotFoundError(f"{what} not in this partial clone, which fetches nothing"),
            f"bring them with 'tvcs fetch-data'{older}, or let them be fetched when they are "
            f"read: tvcs config remote.{name}.promisor true",
        )

    def _nowhere(self, what: str, error: ObjectNotFoundError) -> ObjectNotFoundError:
        return with_hint(
            ObjectNotFoundError(
                f"{what} not in this partial clone, and {self._place} has not got all of it: "
                f"{error}"
            ),
            "'tvcs fetch-data --remote NAME' asks another remote",
        )

    def _away(self, what: str, error: Exception) -> PromisorAwayError:
        return with_hint(
            PromisorAwayError(
                f"{what} not in this partial clone, and {self._place} does not answer: {error}"
            ),
            "try again when it does; 'tvcs fetch-data' brings values before they are needed",
        )


def _count_text(count: int, noun: str) -> str:
    return f"1 {noun} is" if count == 1 else f"{count:,} {noun}s are"
