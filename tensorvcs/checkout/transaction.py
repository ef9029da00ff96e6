"""Transaction: a private staging area that commits when it is left."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tensorvcs.errors import NothingToCommitError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tensorvcs.checkout.editor import EditableCheckout
    from tensorvcs.history.commit import Commit
    from tensorvcs.objects.commit import Identity
    from tensorvcs.signing.signer import Signer


class Transaction:
    """``with repo.transaction("main", message="...") as tx`` gives an editable checkout.

    Leaving it commits: the branch moves by compare-and-swap, and when another writer was first,
    the changes are merged onto the new head. Leaving it by an exception changes nothing. A
    transaction without changes makes no commit.
    """

    def __init__(
        self,
        editor: EditableCheckout,
        message: str,
        author: Identity | str | None,
        metadata: Mapping[str, str] | None,
        sign: Signer | None = None,
    ) -> None:
        self._editor = editor
        self._message = message
        self._author = author
        self._metadata = metadata
        self._sign = sign
        self.commit: Commit | None = None
        """The commit that was made; None while the transaction is open, or without changes."""

    def __enter__(self) -> EditableCheckout:
        return self._editor.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with suppress(NothingToCommitError):
                    self.commit = self._editor.commit(
                        self._message, self._author, metadata=self._metadata, sign=self._sign
                    )
        finally:
            self._editor.abandon()
