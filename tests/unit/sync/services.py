"""A service over stores in memory, and a line to it that uses no machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.storage.memory import MemoryTensors, memory_stores
from tensorvcs.sync import wire
from tensorvcs.sync.service import Limits, Policy, Service, Visitor
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.sync.service import Right


def service_over(
    stores: Stores, limits: Limits | None = None, policy: Policy | None = None
) -> Service:
    """Return the service of stores in memory."""

    def open_writer() -> MemoryTensors:
        writer = MemoryTensors()
        assert isinstance(stores.tensors, MemoryTensors)
        writer.values = stores.tensors.values
        return writer

    clock = MemoryRepository().now
    return Service(stores, open_writer, clock, limits or Limits(), policy or Policy())


class DirectLine:
    """A line that calls a service, through all encodings."""

    pauses: Sequence[float] = ()
    reads_ahead = False

    def __init__(self, service: Service | None = None, right: Right = "admin") -> None:
        if service is None:
            service = service_over(MemoryRepository(memory_stores()).stores)
        self.service = service
        self.visitor = Visitor("ada", right)
        self.asked: list[str] = []

    def ask(
        self, method: str, contents: Sequence[wire.Content], *, is_repeatable: bool = True
    ) -> Iterator[wire.Frame]:
        self.asked.append(method)
        frames = wire.read_frames(reader(b"".join(wire.stream(contents))))
        answer = self.service.answer(method, frames, self.visitor)
        yield from wire.read_frames(reader(b"".join(wire.stream(answer))))

    def close(self) -> None:
        pass


def reader(content: bytes) -> Callable[[int], bytes]:
    """Return a function that reads up to n bytes of a content."""
    rest = memoryview(content)

    def read(nbytes: int) -> bytes:
        nonlocal rest
        part, rest = rest[:nbytes], rest[nbytes:]
        return bytes(part)

    return read
