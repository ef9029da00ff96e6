"""Digests that are being fetched: who fetches, and who waits."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from tensorvcs.storage.in_flight import InFlight, in_flight

if TYPE_CHECKING:
    from pathlib import Path


def test_what_one_thread_fetches_another_waits_for() -> None:
    flight = InFlight()
    claims: list[list[bytes]] = []

    def ask(digests: list[bytes]) -> None:
        with flight.claim(digests) as mine:
            claims.append(mine)

    with flight.claim([b"a", b"b", b"a"]) as mine:
        assert mine == [b"a", b"b"]
        assert flight.is_mine
        # A part that nobody fetches is for the other at once; it does not wait for the rest.
        other = threading.Thread(target=ask, args=([b"b", b"c"],))
        other.start()
        other.join()
        assert claims == [[b"c"]]
        waiting = threading.Thread(target=ask, args=([b"a", b"b"],))
        waiting.start()
    waiting.join()
    # Nothing is claimed by who has waited, or it was free when it asked.
    assert claims[1] in ([], [b"a", b"b"])
    assert not flight.is_mine
    with flight.claim([b"a"]) as mine:
        assert mine == [b"a"]


def test_an_error_lets_go() -> None:
    flight = InFlight()
    with pytest.raises(KeyError), flight.claim([b"a"]):
        raise KeyError
    with flight.claim([b"a"]) as mine:
        assert mine == [b"a"]


def test_stores_of_one_folder_share_it_and_children_begin_anew(tmp_path: Path) -> None:
    flight = in_flight(tmp_path)
    assert in_flight(tmp_path) is flight
    assert in_flight(tmp_path / "other") is not flight
    with flight.claim([b"a"]):
        child = os.fork()
        if child == 0:
            with in_flight(tmp_path).claim([b"a"]) as mine:
                os._exit(0 if mine == [b"a"] else 1)
        assert os.waitpid(child, 0)[1] == 0
