"""The three stores of a repository behind a line: HTTP, or the pipes of a program.

What comes from the other end is not trusted: objects are hashed, answers are counted, and values
are hashed by the store that takes them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np

from tensorvcs.errors import (
    ConnectionLostError,
    DigestMismatchError,
    InvalidInputError,
    RemoteError,
    UnsupportedFormatError,
    with_hint,
)
from tensorvcs.objects.digest import array_to_digests, digest_of
from tensorvcs.storage.interfaces import RefChange, Stores
from tensorvcs.sync import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import LocationTable, StoredValues

SEND_NBYTES = 128 << 20
"""Values are collected up to so many bytes and sent in one request, which becomes one pack."""

_MAX_OBJECTS_AT_ONCE = 4096
_MAX_REFS_NBYTES = 64 << 20
# What a frame costs beside its content, so that empty ones come to an end as well.
_FRAME_COST = 64
# What is read of an answer before it is wanted; one frame more, whatever its size.
_AHEAD_NBYTES = 16 << 20
_AHEAD_FRAMES = 8


class Line(Protocol):
    """A way to the service of a repository."""

    @property
    def pauses(self) -> Sequence[float]:
        """Seconds to wait before each further try of a question whose answer was lost."""
        ...

    @property
    def reads_ahead(self) -> bool:
        """Whether an answer can be read in another thread than that which asks."""
        ...

    def ask(
        self, method: str, contents: Sequence[wire.Content], *, is_repeatable: bool = True
    ) -> Iterator[wire.Frame]:
        """Yield the contents of an answer.

        Parameters
        ----------
        is_repeatable : bool
            Whether it does no harm to ask twice.

        Raises
        ------
        ConnectionLostError
            Nobody answers, or not to the end.
        RemoteError
            The answer is none.
        TensorVCSError
            What the other end raised.
        """
        ...

    def close(self) -> None:
        """Hang up."""
        ...


def remote_stores(line: Line) -> Stores:
    """Return the stores behind a line, after a greeting.

    Raises
    ------
    UnsupportedFormatError
        The other end speaks another protocol.
    RemoteError
        It does not answer, or is no repository.

    Notes
    -----
    A batch of questions is one round trip. Objects are put as they come, for the other end keeps
    nothing whose parts it lacks: the transaction is none.
    """
    answers = ask_all(line, "hello", [], max_nbytes=wire.FRAME_NBYTES)
    if len(answers) != 1:
        raise RemoteError("the remote does not say what it is")
    greeting = wire.Greeting.decode(answers[0])
    if greeting.protocol != wire.PROTOCOL_VERSION:
        raise with_hint(
            UnsupportedFormatError(
                f"the remote speaks protocol {greeting.protocol}; this TensorVCS speaks "
                f"{wire.PROTOCOL_VERSION}"
            ),
            "install the same version of TensorVCS at both ends",
        )
    # Half of what the other end takes leaves room for the last part.
    send_nbytes = max(1, min(SEND_NBYTES, greeting.max_request_nbytes // 2))
    tensors = RemoteTensors(line, send_nbytes, greeting.max_frame_nbytes)
    return Stores(RemoteObjects(line), tensors, RemoteRefs(line), nullcontext)


def ask_all(
    line: Line, method: str, contents: Sequence[wire.Content], *, max_nbytes: int
) -> list[wire.Frame]:
    """Return a whole answer; a question whose answer is lost is asked again."""
    pauses = iter(line.pauses)
    while True:
        try:
            return _collect(line.ask(method, contents), method, max_nbytes)
        except ConnectionLostError:
            _wait_or_raise(pauses)


def _collect(answer: Iterator[wire.Frame], method: str, max_nbytes: int) -> list[wire.Frame]:
    found: list[wire.Frame] = []
    for content in answer:
        found.append(content)
        max_nbytes -= len(content) + _FRAME_COST
        if max_nbytes < 0:
            raise RemoteError(f"the answer to {method} is longer than any that fits")
    return found


def _wait_or_raise(pauses: Iterator[float]) -> None:
    """Wait for the next try, or raise the error that is being handled when it was the last."""
    pause = next(pauses, None)
    if pause is None:
        raise  # noqa: PLE0704 (called where an error is handled)
    time.sleep(pause)


def _read_ahead(answer: Iterator[wire.Frame]) -> Iterator[wire.Frame]:
    """Yield the frames of an answer, and read the next ones meanwhile, a few MiB of them."""
    room = threading.Condition()
    held_nbytes, is_wanted = 0, True

    def read() -> Iterator[wire.Frame]:
        nonlocal held_nbytes
        for frame in answer:
            with room:
                held_nbytes += len(frame)
            yield frame
            with room:
                while held_nbytes > _AHEAD_NBYTES and is_wanted:
                    room.wait()

    frames = read()
    with ThreadPoolExecutor(1, "tensorvcs-line") as reader:
        waiting = deque(reader.submit(next, frames, None) for _ in range(_AHEAD_FRAMES))
        try:
            while (frame := waiting.popleft().result()) is not None:
                with room:
                    held_nbytes -= len(frame)
                    room.notify()
                waiting.append(reader.submit(next, frames, None))
                yield frame
        finally:
            for left in waiting:
                left.cancel()
            with room:
                is_wanted = False
                room.notify()
            reader.submit(_close, answer)


def _close(answer: Iterator[wire.Frame]) -> None:
    """End an answer that nobody reads any more."""
    if isinstance(answer, Generator):
        answer.close()


class RemoteObjects:
    """ObjectStore behind a line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def get(self, digests: Sequence[bytes]) -> list[bytes]:
        found: list[bytes] = []
        for low in range(0, len(digests), _MAX_OBJECTS_AT_ONCE):
            wanted = digests[low : low + _MAX_OBJECTS_AT_ONCE]
            pauses = iter(self._line.pauses)
            while True:
                try:
                    found += self._get(wanted)
                    break
                except ConnectionLostError:
                    _wait_or_raise(pauses)
        return found

    def _get(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return objects, each hashed as it comes, so that no more is held than was asked for."""
        found: list[bytes] = []
        for frame in self._line.ask("objects/get", list(wire.encode_digests(digests))):
            for content in wire.decode_objects(frame):
                if len(found) == len(digests):
                    raise RemoteError(f"more than the {len(digests)} objects asked for arrived")
                wanted = digests[len(found)]
                if digest_of(content) != wanted:
                    raise DigestMismatchError(
                        f"object {wanted.hex()} arrived as another one, which hashes to "
                        f"{digest_of(content).hex()}; nothing of it was kept"
                    )
                found.append(content)
        if len(found) < len(digests):
            raise RemoteError(f"{len(found)} of the {len(digests)} objects asked for arrived")
        return found

    def put(self, objects: Sequence[bytes]) -> list[bytes]:
        if objects:
            frames = list(wire.encode_objects(objects))
            ask_all(self._line, "objects/put", frames, max_nbytes=0)
        return [digest_of(content) for content in objects]

    def missing(self, digests: Sequence[bytes]) -> list[bytes]:
        absent: set[bytes] = set()
        for question in wire.encode_digests(digests):
            nbytes = len(question) + _FRAME_COST
            for frame in ask_all(self._line, "objects/missing", [question], max_nbytes=nbytes):
                absent.update(wire.decode_digests(frame))
        if absent - set(digests):
            raise RemoteError("the remote lacks objects that it was not asked about")
        return [digest for digest in digests if digest in absent]

    def find(self, prefix_hex: str, limit: int = 3) -> list[bytes]:
        question = [prefix_hex.encode()]
        frames = ask_all(self._line, "objects/find", question, max_nbytes=wire.FRAME_NBYTES)
        found = [digest for frame in frames for digest in wire.decode_digests(frame)]
        return [digest for digest in found if digest.hex().startswith(prefix_hex)][:limit]


class RemoteTensors:
    """TensorStore behind a line, for values on their way; it reads none.

    Parameters
    ----------
    line : Line
    send_nbytes : int
        Values are collected up to so many bytes.
    max_frame_nbytes : int
        What the other end takes at once at most.

    Notes
    -----
    What is taken is held in memory until it is sent. A part that was lost on the way is sent
    again; the other end keeps each value once.
    """

    def __init__(
        self,
        line: Line,
        send_nbytes: int = SEND_NBYTES,
        max_frame_nbytes: int = wire.MAX_FRAME_NBYTES,
    ) -> None:
        self._line = line
        self._send_nbytes = send_nbytes
        self._max_frame_nbytes = max_frame_nbytes
        self._frames: list[wire.Content] = []
        self._collected_nbytes = 0
        self._unsealed_nbytes = 0

    def contains(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        found = [np.empty(0, np.uint8)]
        for low in range(0, len(digests), wire.MAX_DIGESTS):
            asked = digests[low : low + wire.MAX_DIGESTS]
            answer = self._numbers("values/contains", asked, 1)
            found.append(np.frombuffer(answer, np.uint8))
        return np.concatenate(found).astype(np.bool_)

    def fetch(self, digests: NDArray[np.uint8]) -> int:
        return 0

    def sizes(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        found = [np.empty(0, np.int64)]
        for low in range(0, len(digests), wire.MAX_DIGESTS):
            asked = digests[low : low + wire.MAX_DIGESTS]
            sizes = np.frombuffer(self._numbers("values/sizes", asked, 8), "<i8")
            if len(sizes) and int(sizes.min()) < 0:
                raise RemoteError("a value of the remote has less than no bytes")
            found.append(sizes.astype(np.int64))
        return np.concatenate(found)

    def _numbers(self, method: str, digests: NDArray[np.uint8], width: int) -> bytes:
        """Return as many numbers as digests were asked about, as bytes."""
        expected = width * len(digests)
        question = [np.ascontiguousarray(digests).tobytes()]
        answer = b"".join(ask_all(self._line, method, question, max_nbytes=expected + _FRAME_COST))
        if len(answer) != expected:
            raise RemoteError(f"{len(answer)} bytes answer {method}; expected {expected}")
        return answer

    def stored(self, digests: NDArray[np.uint8]) -> Iterator[StoredValues]:
        """Yield values as the remote keeps them; see `TensorStore.stored`.

        Notes
        -----
        When the line is cut, only what has not arrived is asked for again.
        """
        names = list(dict.fromkeys(array_to_digests(digests)))
        for low in range(0, len(names), wire.MAX_DIGESTS):
            left = dict.fromkeys(names[low : low + wire.MAX_DIGESTS])
            pauses = iter(self._line.pauses)
            while left:
                count = len(left)
                try:
                    yield from self._stored(left)
                except ConnectionLostError:
                    if len(left) < count:
                        pauses = iter(self._line.pauses)
                    _wait_or_raise(pauses)

    def _stored(self, left: dict[bytes, None]) -> Iterator[StoredValues]:
        """Yield values, and take them out of those that are left."""
        answer = self._line.ask("values/stored", [b"".join(left)])
        for frame in _read_ahead(answer) if self._line.reads_ahead else answer:
            values = wire.check_decoded(wire.decode_values(frame), wire.MAX_FRAME_NBYTES)
            for name in array_to_digests(values.digests):
                if name not in left:
                    raise RemoteError(f"value {name.hex()} arrived, and was not asked for")
                del left[name]
            yield values
        if left:
            raise RemoteError(f"{len(left)} of the values asked for did not arrive")

    def take(self, values: StoredValues) -> None:
        """Collect values to be sent; the other end hashes them.

        Raises RemoteError when it takes no value of this size.
        """
        content = wire.value_parts(values)
        nbytes = sum(map(len, content))
        if max(nbytes, wire.decoded_nbytes(values)) > self._max_frame_nbytes:
            raise with_hint(
                RemoteError(
                    f"a value of about {wire.decoded_nbytes(values)} bytes is too large for the "
                    f"remote, which takes {self._max_frame_nbytes} at once"
                ),
                "ask those who run the server for more, or push to a path",
            )
        if self._frames and self._collected_nbytes + nbytes > self._send_nbytes:
            self._send()
        self._frames.append(content)
        self._collected_nbytes += nbytes
        self._unsealed_nbytes += int(values.sizes.sum())

    def _send(self) -> None:
        frames, self._frames, self._collected_nbytes = self._frames, [], 0
        if frames:
            ask_all(self._line, "values/take", frames, max_nbytes=0)

    @property
    def unsealed_nbytes(self) -> int:
        """Bytes taken since the last `seal`, those among them that were sent."""
        return self._unsealed_nbytes

    def seal(self) -> None:
        """Send what is left; the other end makes each request durable."""
        self._unsealed_nbytes = 0
        self._send()

    def discard(self) -> None:
        """Forget what was not sent."""
        self._frames, self._collected_nbytes, self._unsealed_nbytes = [], 0, 0

    # What a store here does and one far away does not

    def read(self, schema: Schema, digests: NDArray[np.uint8]) -> list[Any]:
        _refuse("be read")

    def write(
        self, schema: Schema, digests: NDArray[np.uint8], values: NDArray[Any] | Sequence[Any]
    ) -> None:
        _refuse("be written")

    def table(
        self,
        schema: Schema,
        leaves: Sequence[bytes],
        counts: NDArray[np.int64],
        load: Callable[[Sequence[bytes]], Iterable[NDArray[np.uint8]]],
    ) -> LocationTable:
        _refuse("be located")


def _refuse(what: str) -> NoReturn:
    raise with_hint(
        InvalidInputError(f"values cannot {what} in a remote; they move to and from it"),
        "clone it, in part perhaps, and work on the clone",
    )


class RemoteRefs:
    """RefStore behind a line: branches and tags, and which branch is the current one."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def get(self, name: str) -> bytes | None:
        return self.items(name).get(name)

    def items(self, prefix: str = "") -> Mapping[str, bytes]:
        question = [prefix.encode()]
        frames = ask_all(self._line, "refs", question, max_nbytes=_MAX_REFS_NBYTES)
        found = {name: v for frame in frames for name, v in wire.decode_refs(frame).items()}
        return {name: found[name] for name in sorted(found) if name.startswith(prefix)}

    def swap(self, changes: Sequence[RefChange], operation: bytes | None = None) -> None:
        """Make all changes, or none and raise RefChangedError.

        The other end writes a record of its own to its log; `operation` stays here. It is asked
        once only: when the answer is lost, whoever calls looks where the refs are.
        """
        answer = self._line.ask("swap", [wire.encode_swap(changes)], is_repeatable=False)
        _collect(answer, "swap", 0)

    def operations(self, limit: int | None = None) -> list[tuple[int, bytes]]:
        """Return nothing: the log of a remote is not shown."""
        return []
