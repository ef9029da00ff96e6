"""The staging area of a commit that is written down as it was made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.errors import ReadOnlyError, with_hint
from tensorvcs.history.commit import new_commit
from tensorvcs.history.snapshot import write_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorvcs.checkout.areas import Writer
    from tensorvcs.history.commit import Commit
    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.commit import Identity, Timestamp
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.signing.signer import Signer
    from tensorvcs.storage.interfaces import Stores


class DetachedArea:
    """Commits with the parents and the time they are given, and moves no branch.

    Nothing is merged and nothing refused for being unchanged: what comes out depends on what is
    given alone, so that the same conversion made twice has the same commit ids. A further commit
    of the same editor has the one before as its parent, and the same time.
    """

    def __init__(
        self,
        stores: Stores,
        parents: Sequence[CommitDigest],
        time: Timestamp,
        writer: Writer,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._release = release
        self._stores = stores
        self._parents = tuple(parents)
        self._time = time
        self.writer = writer

    def save(self, columns: Columns) -> None:
        write_snapshot(self._stores.objects, columns)

    def commit(
        self,
        columns: Columns,
        message: str,
        author: Identity | None,
        metadata: Mapping[str, str] | None,
        signer: Signer | None = None,
    ) -> tuple[Commit, Columns]:
        made = new_commit(
            self._stores.objects,
            write_snapshot(self._stores.objects, columns),
            self._parents,
            author=self.writer.author(author),
            now=self._time,
            message=message,
            metadata=metadata,
            signer=signer,
        )
        self._parents = (made.digest,)
        return made, columns

    def amend(
        self,
        columns: Columns,
        message: str | None,
        author: Identity | None,
        metadata: Mapping[str, str],
        signer: Signer | None = None,
    ) -> ReadOnlyError:
        return with_hint(
            ReadOnlyError("a detached commit cannot be amended: it is on no branch"),
            "open repo.edit_detached with the same parents, and commit anew",
        )

    def give_up_merge(self) -> None:
        pass

    def close(self) -> None:
        self._release()
