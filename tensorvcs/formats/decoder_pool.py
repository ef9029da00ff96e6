"""Processes that decode image files, and their answers in the order of the files."""

from __future__ import annotations

import os
import queue
import struct
import subprocess
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import StorageError, UnreadableFileError
from tensorvcs.formats import image_decoding
from tensorvcs.formats.image_decoding import (
    ANSWER_NBYTES,
    CHANNEL_COUNTS,
    read_message,
    write_message,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray

# A request asks for about this many bytes of pixels, so that answers are seldom cut.
_REQUEST_NBYTES = ANSWER_NBYTES // 2
_MAX_REQUEST_COUNT = 256
_FIRST_REQUEST_COUNT = 16
_PIPE_NBYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Block:
    """Images of one mode and size.

    Attributes
    ----------
    mode : str
    height, width : int
    places : sequence of int, length n
        Which of the paths they are.
    pixels : ndarray, shape (n, height, width) or (n, height, width, channel), uint8 or uint16
        None when only headers were read.
    """

    mode: str
    height: int
    width: int
    places: Sequence[int]
    pixels: NDArray[Any] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of some consecutive paths: `done` of them from `start` on."""

    start: int
    done: int
    blocks: Sequence[Block]
    failed: Sequence[tuple[int, str]]
    notes: Sequence[tuple[int, str]]

    @property
    def pixels_nbytes(self) -> int:
        """The bytes of all pixels."""
        return sum(block.pixels.nbytes for block in self.blocks if block.pixels is not None)


def image_shape(mode: str, height: int, width: int) -> tuple[int, ...]:
    """Return the shape of the array of an image: (height, width), or with channels behind."""
    channels = CHANNEL_COUNTS[mode]
    return (height, width) if channels == 1 else (height, width, channels)


def image_dtype(mode: str) -> np.dtype[Any]:
    """Return the dtype of the pixels of a mode."""
    return np.dtype("<u2" if mode == "I;16" else "u1")


def usable_core_count() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class DecoderProcess:
    """One process that decodes; asked by one thread at a time.

    A plain subprocess that runs a script by its path: it imports neither the library nor the main
    module of the caller, inherits no open file, lock or thread, and is safe to start beside open
    LMDB environments and running threads.
    """

    def __init__(self, setting: Mapping[str, Any]) -> None:
        command = [sys.executable, "-I", "-S", str(Path(image_decoding.__file__))]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise StorageError(f"cannot start a process that decodes images: {error}") from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        _widen_pipe(self._answers)
        path = [entry for entry in sys.path if isinstance(entry, str)]
        with suppress(BrokenPipeError):
            write_message(self._requests, {"sys_path": path, **setting})  # type: ignore[arg-type]

    def ask(self, paths: Sequence[str], start: int, *, headers_only: bool) -> Answer:
        """Decode some files.

        Raises
        ------
        UnreadableFileError
            The process ended: a file crashed it, or something killed it.
        """
        try:
            write_message(
                self._requests,  # type: ignore[arg-type]
                {"paths": list(paths), "headers_only": headers_only},
            )
            self._requests.flush()
            fields = read_message(self._answers)  # type: ignore[arg-type]
            if fields is None:
                raise EOFError
            blocks = [self._read_block(block, start, headers_only) for block in fields["blocks"]]
        except (BrokenPipeError, EOFError, struct.error, ValueError) as error:
            code = self._process.wait()
            ending = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            raise UnreadableFileError(
                f"the process that decodes images ended ({ending}) on one of {len(paths)} files, "
                f"up to {paths[-1]}",
                path=paths[0],
            ) from error
        return Answer(
            start,
            fields["done"],
            blocks,
            [(start + place, reason) for place, reason in fields["failed"]],
            [(start + place, note) for place, note in fields["notes"]],
        )

    def _read_block(self, block: dict[str, Any], start: int, headers_only: bool) -> Block:
        mode, height, width, places = (block[k] for k in ("mode", "height", "width", "places"))
        pixels = None
        if not headers_only:
            shape = (len(places), *image_shape(mode, height, width))
            pixels = np.empty(shape, image_dtype(mode))
            content = pixels.data.cast("B")
            if self._answers.readinto(content) != len(content):  # type: ignore[attr-defined]
                raise EOFError
        return Block(mode, height, width, [start + place for place in places], pixels)

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self._requests.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.kill()
        self._answers.close()

    def kill(self) -> None:
        """End the process at once, in the middle of an answer."""
        self._process.kill()
        self._process.wait()


def _widen_pipe(stream: IO[bytes]) -> None:
    """Let a pipe hold a megabyte instead of 64 kB, where the system can."""
    try:
        import fcntl

        fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_NBYTES)
    except (ImportError, AttributeError, OSError):
        pass


class DecoderPool:
    """Processes that decode files side by side.

    Parameters
    ----------
    process_count : int
    setting : mapping
        The arguments of `image_decoding.Decoder`.

    Notes
    -----
    What is decoded and not yet taken is at most two answers of about 2 MiB a process.
    """

    def __init__(self, process_count: int, setting: Mapping[str, Any]) -> None:
        self._process_count = process_count
        self._idle: queue.SimpleQueue[DecoderProcess] = queue.SimpleQueue()
        self._processes: list[DecoderProcess] = []
        for _ in range(process_count):
            process = DecoderProcess(setting)
            self._processes.append(process)
            self._idle.put(process)
        # A thread for each process waits for its answers; the work is done elsewhere.
        self._threads = ThreadPoolExecutor(process_count, thread_name_prefix="tensorvcs-decode")

    def answers(
        self, paths: Sequence[str], first: int = 0, *, headers_only: bool
    ) -> Generator[Answer, None, None]:
        """Decode all files from `first` on and give the answers in the order of the paths.

        Raises
        ------
        UnreadableFileError
            A process ended before it answered.
        """
        pending: deque[tuple[int, Future[Answer]]] = deque()
        window = 2 * self._process_count
        next_place = first
        seen_count = seen_nbytes = 0

        def submit(start: int, stop: int) -> tuple[int, Future[Answer]]:
            return stop, self._threads.submit(
                self._ask, paths[start:stop], start, headers_only=headers_only
            )

        try:
            while pending or next_place < len(paths):
                while len(pending) < window and next_place < len(paths):
                    count = self._request_count(seen_count, seen_nbytes)
                    stop = min(len(paths), next_place + count)
                    pending.append(submit(next_place, stop))
                    next_place = stop
                stop, future = pending.popleft()
                answer = future.result()
                seen_count += answer.done
                seen_nbytes += answer.pixels_nbytes
                if answer.start + answer.done < stop:
                    pending.appendleft(submit(answer.start + answer.done, stop))
                yield answer
        finally:
            # Somebody who stops early leaves the processes ready for the next call.
            for _, future in pending:
                future.cancel()
            wait(future for _, future in pending)

    @staticmethod
    def _request_count(seen_count: int, seen_nbytes: int) -> int:
        if not seen_count:
            return _FIRST_REQUEST_COUNT
        mean_nbytes = max(1, seen_nbytes // seen_count)
        return max(1, min(_MAX_REQUEST_COUNT, _REQUEST_NBYTES // mean_nbytes))

    def _ask(self, paths: Sequence[str], start: int, *, headers_only: bool) -> Answer:
        process = self._idle.get()
        try:
            return process.ask(paths, start, headers_only=headers_only)
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """End all processes and threads."""
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()
        self._processes = []
