"""The lease of an upload lasts from one request to the next, and ends when none comes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tensorvcs.sync.upload_lease import UploadLease

if TYPE_CHECKING:
    from collections.abc import Iterator


class Counted:
    def __init__(self) -> None:
        self.begun = self.ended = 0

    @contextmanager
    def lease(self) -> Iterator[None]:
        self.begun += 1
        yield
        self.ended += 1


def test_requests_share_one_lease() -> None:
    counted = Counted()
    upload = UploadLease(counted.lease, 600)
    for _ in range(3):
        upload.prolong()
    assert (counted.begun, counted.ended) == (1, 0)
    upload.end()
    upload.end()
    assert (counted.begun, counted.ended) == (1, 1)
    upload.prolong()
    assert (counted.begun, counted.ended) == (2, 1)
    upload.end()


def test_it_ends_when_its_time_is_over() -> None:
    counted = Counted()
    upload = UploadLease(counted.lease, 600)
    upload.prolong()
    upload._look()
    assert (counted.begun, counted.ended) == (1, 0)
    upload._until = 0.0
    upload._look()
    assert (counted.begun, counted.ended) == (1, 1)
