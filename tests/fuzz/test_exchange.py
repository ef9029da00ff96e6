"""What comes from another machine: requests, answers, bundles, full of lies."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings

from tensorvcs.history.refs import BRANCHES
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.storage.memory import memory_stores
from tensorvcs.sync import wire
from tensorvcs.sync.bundle import check_bundle, describe_bundle
from tensorvcs.sync.fetch import fetch
from tensorvcs.sync.remote_stores import remote_stores
from tensorvcs.sync.service import METHODS, Visitor
from tensorvcs.sync.transfer import transfer
from tests.format.every_kind import noise
from tests.fuzz.mutations import bounded, mutated, refuse_or_read
from tests.fuzz.test_decoders import FUZZ
from tests.memory_repository import MemoryRepository
from tests.unit.sync.bundles import bundle_of, opened, take_bundle
from tests.unit.sync.services import DirectLine, reader, service_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


FEWER = settings(FUZZ, max_examples=60)


class Recorder(DirectLine):
    """A line that keeps the bytes of every request and answer, and can replace one answer."""

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self.requests: list[tuple[str, bytes]] = []
        self.answers: list[tuple[str, bytes]] = []
        self.lies: dict[str, bytes] = {}

    def ask(
        self, method: str, contents: Sequence[wire.Content], *, is_repeatable: bool = True
    ) -> Iterator[wire.Frame]:
        request = b"".join(wire.stream(contents))
        self.requests.append((method, request))
        frames = wire.read_frames(reader(request))
        answer = b"".join(wire.stream(self.service.answer(method, frames, self.visitor)))
        self.answers.append((method, answer))
        yield from wire.read_frames(reader(self.lies.get(method, answer)))


def far() -> MemoryRepository:
    """Return a repository of every kind of value, which takes little time to copy."""
    repo = MemoryRepository(memory_stores())

    def first(co: Any) -> None:
        co.add_ndarray_column("images", (5, 5, 4), "uint8").extend(
            noise(4000, 1).reshape(40, 5, 5, 4)
        )
        co.add_ndarray_column("labels", (), "int64").extend(np.arange(40))
        co.add_str_column("names").update({f"key/{i}": f"name {i}" * i for i in range(9)})
        nested = co.add_ndarray_column(
            "scans", (None, 9), "float32", variable_shape=True, nested=True
        )
        nested["a"] = {1: np.zeros((2, 9), np.float32), "b": np.ones((3, 9), np.float32)}

    repo.commit(first, message="first")
    repo.commit(lambda co: co["images"].update({3: np.ones((5, 5, 4), np.uint8)}), message="second")
    return repo


def fetch_all(line: Recorder) -> None:
    """Copy all branches from the other end of a line."""
    local = MemoryRepository()
    fetch(remote_stores(line), local.stores, "origin", user="ada", now=local.now())


@cache
def traffic() -> tuple[dict[str, list[bytes]], dict[str, list[bytes]]]:
    """Return requests and answers of a fetch and a push, by method."""
    line = Recorder(service_over(far().stores))
    fetch_all(line)
    push = Recorder(service_over(MemoryRepository().stores))
    source = far()
    stores = remote_stores(push)
    value = source.stores.refs.items(BRANCHES)[BRANCHES + "main"]
    commit: Any = bytes.fromhex(value.split()[1].decode())
    transfer(source.stores, stores, [commit])
    requests: dict[str, list[bytes]] = {}
    answers: dict[str, list[bytes]] = {}
    for method, request in (*line.requests, *push.requests):
        requests.setdefault(method, []).append(request)
    for method, answer in line.answers:
        answers.setdefault(method, []).append(answer)
    digest = commit.hex()
    change = wire.encode_swap([RefChange("refs/heads/x", None, f"commit {digest}".encode())])
    requests["swap"] = [wire.frame(change) + wire.frame(b"", wire.END)]
    return requests, answers


@pytest.mark.parametrize("method", METHODS)
def test_a_hostile_request_is_answered_or_refused(method: str) -> None:
    requests = traffic()[0]
    anything = sorted({content for contents in requests.values() for content in contents}, key=len)
    repo = far()
    service = service_over(repo.stores)
    before = dict(repo.stores.refs.items(""))

    @FEWER
    @given(content=mutated(requests.get(method, anything[:20])))
    def attack(content: bytes) -> None:
        frames = wire.read_frames(reader(content), service.max_frame_nbytes(method))
        refuse_or_read(lambda: list(service.answer(method, frames, Visitor("eve", "write"))))

    with bounded():
        attack()
    if method != "swap":
        assert dict(repo.stores.refs.items("")) == before


@pytest.mark.parametrize("method", ["hello", "refs", "objects/get", "values/stored"])
def test_a_hostile_answer_is_taken_or_refused(method: str) -> None:
    answers = traffic()[1]
    service = service_over(far().stores)

    @FEWER
    @given(content=mutated(answers[method]))
    def attack(content: bytes) -> None:
        line = Recorder(service)
        line.lies[method] = content
        refuse_or_read(lambda: fetch_all(line))

    with bounded():
        attack()


def test_a_hostile_bundle_is_taken_or_refused() -> None:
    whole = bundle_of(far().stores)

    @FEWER
    @given(content=mutated([whole]))
    def attack(content: bytes) -> None:
        refuse_or_read(lambda: describe_bundle(opened(content)))
        refuse_or_read(lambda: check_bundle(opened(content, is_checked=True)))
        refuse_or_read(lambda: take_bundle(content))

    with bounded():
        attack()
