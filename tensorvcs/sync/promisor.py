"""The promisor: supplies what a partial clone left out, when it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.errors import (
    ObjectNotFoundError,
    RemoteError,
    RepositoryNotFoundError,
    StorageError,
    with_hint,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    """

    def __init__(self, remote: Remote, connect: Callable[[], Stores] | None) -> None:
        self._remote = remote
        self._connect = connect
        self._source: Stores | None = None

    def __reduce__(self) -> tuple[type[Promisor], tuple[Remote, Callable[[], Stores] | None]]:
        return Promisor, (self._remote, self._connect)

    def _stores(self, what: str) -> Stores:
        if self._connect is None:
            raise with_hint(
                ObjectNotFoundError(f"{what} not in this partial clone, which fetches nothing"),
                "bring them with 'tvcs fetch-data', or let them be fetched when they are read: "
                f"tvcs config remote.{self._remote.name}.promisor true",
            )
        if self._source is None:
            try:
                self._source = self._connect()
            except (RemoteError, RepositoryNotFoundError, StorageError) as error:
                raise self._absent(what, error) from error
        return self._source

    def _absent(self, what: str, error: Exception) -> RemoteError:
        self._source = None
        remote = self._remote
        return with_hint(
            RemoteError(
                f"{what} not in this partial clone, and remote {remote.name!r} at "
                f"{remote.shown_url} does not answer: {error}"
            ),
            "try again when it does; 'tvcs fetch-data' brings values before they are needed",
        )

    def supply_objects(self, store: ObjectStore, digests: Sequence[bytes]) -> None:
        """Put objects into a store.

        Raises
        ------
        RemoteError
            The remote does not answer.
        ObjectNotFoundError
            It has not got them either.
        """
        what = f"{len(digests)} tree nodes are"
        try:
            store.put(self._stores(what).objects.get(digests))
        except RemoteError as error:
            raise self._absent(what, error) from error

    def supply_values(self, store: TensorStore, digests: NDArray[np.uint8]) -> None:
        """Have a store take values; raises what `supply_objects` does."""
        what = f"{len(digests)} values are"
        try:
            for part in self._stores(what).tensors.stored(digests):
                store.take(part)
        except RemoteError as error:
            raise self._absent(what, error) from error
