"""Hostile bytes: mutations of what is valid, and bounds on what decoding them may take."""

from __future__ import annotations

import json
import resource
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tensorvcs.errors import TensorVCSError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MEMORY_NBYTES = 512 << 20
"""What decoding may take beside what the process has; contents are a few kB."""

HANG_SECONDS = 120
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)
WEIRD_NUMBERS = (-(2**63), -1, 0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64, 10**30)
WEIRD_VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "x" * 5000, "\ud800", "\0", "../../x", [], {}, [[]], [None], {"": {}}),
    *WEIRD_NUMBERS,
)
# Spellings that no encoder writes, at a place where JSON has a value.
WEIRD_TEXTS = (b"1e999", b"-1e999", b"NaN", b"Infinity", b"1.5", b"-0", b"1" * 5000, b"[" * 5000,
               b'{"a":' * 3000, b'"\\ud800"', b"\xff", b"")  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    """Return a valid content after one to four mutations, or bytes from nowhere."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    content = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, 4))):
        content = draw(st.sampled_from(MUTATIONS))(draw, content, valid)
    return content


def _place(draw: st.DrawFn, content: bytes) -> int:
    # Heads, where lengths and kinds are, and ends, where checks are, more often than the rest.
    size = len(content)
    return min(
        draw(st.one_of(st.integers(0, min(size, 64)), st.integers(0, size), st.just(size - 1))),
        max(size - 1, 0),
    )


def _flip(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    if not content:
        return content
    at = _place(draw, content)
    changed = bytes([content[at] ^ (1 << draw(st.integers(0, 7)))])
    return content[:at] + changed + content[at + 1 :]


def _cut(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    return content[: _place(draw, content)]


def _take_out(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(draw, content)
    return content[:at] + content[at + draw(st.integers(1, 40)) :]


def _repeat(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(draw, content)
    stop = at + draw(st.integers(1, 40))
    return content[:stop] + content[at:]


def _splice(draw: st.DrawFn, content: bytes, valid: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(valid))
    return content[: _place(draw, content)] + other[_place(draw, other) :]


def _overwrite(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    """Write a number that is very small or very large where a length may be."""
    at, width = _place(draw, content), draw(st.sampled_from([1, 2, 4, 8]))
    number: int = draw(st.sampled_from(WEIRD_NUMBERS)) % (1 << 8 * width)
    return content[:at] + number.to_bytes(width, "little") + content[at + width :]


def _put_in(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(draw, content)
    return (
        content[:at]
        + draw(st.one_of(st.binary(max_size=20), st.sampled_from(WEIRD_TEXTS)))
        + (content[at:])
    )


def _change_json(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    """Change a value deep in the JSON of a content, which may begin with a line of its own."""
    start = content.find(b"{")
    line, text = content[: max(start, 0)], content[max(start, 0) :]
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return content
    changed = _changed(draw, fields)
    spelled = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return line + spelled.encode(errors="surrogatepass")


def _changed(draw: st.DrawFn, value: Any) -> Any:
    if not isinstance(value, (dict, list)) or not value or not draw(st.integers(0, 4)):
        return draw(st.sampled_from(WEIRD_VALUES))
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], _changed(draw, value[at]), *value[at + 1 :]]
    name = draw(st.sampled_from(sorted(value)))
    act = draw(st.integers(0, 5))
    if act == 0:
        return {other: value[other] for other in value if other != name}
    if act == 1:
        return {**value, draw(st.sampled_from(["", "more", name + " "])): None}
    return {**value, name: _changed(draw, value[name])}


MUTATIONS: tuple[Callable[[st.DrawFn, bytes, Sequence[bytes]], bytes], ...] = (
    _flip,
    _cut,
    _take_out,
    _repeat,
    _splice,
    _overwrite,
    _put_in,
    _change_json,
    _change_json,
)


@contextmanager
def bounded() -> Iterator[None]:
    """Make more memory than decoding may take a MemoryError, and an endless loop an end."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + MEMORY_NBYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    before = signal.signal(signal.SIGALRM, _hang)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _hang(*_: object) -> None:
    raise AssertionError(f"no end after {HANG_SECONDS} seconds")


def refuse_or_read(act: Callable[[], object]) -> bool:
    """Run a decoder; tell whether it read the content. Any error but ours fails the test."""
    try:
        act()
    except TensorVCSError as error:
        assert str(error)
        return False
    return True
