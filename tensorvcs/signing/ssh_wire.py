"""The parts that SSH formats are made of: numbers, and bytes behind their length."""

from __future__ import annotations

import struct

from tensorvcs.errors import InvalidInputError


class WireReader:
    """Reads the parts of some bytes one after the other; every lack is an InvalidInputError.

    Parameters
    ----------
    content : bytes
    what : str
        What the bytes are, for the error.
    """

    def __init__(self, content: bytes, what: str) -> None:
        self._content = content
        self._place = 0
        self._what = what

    def take(self, nbytes: int) -> bytes:
        """Return the next bytes."""
        end = self._place + nbytes
        if end > len(self._content):
            left = len(self._content) - self._place
            raise InvalidInputError(
                f"{self._what} is cut off: a part has {nbytes} bytes, and {left} are left"
            )
        part = self._content[self._place : end]
        self._place = end
        return part

    def number(self) -> int:
        """Return the next number of 32 bits."""
        return int(struct.unpack(">I", self.take(4))[0])

    def part(self) -> bytes:
        """Return the next bytes that stand behind their length."""
        return self.take(self.number())

    def text(self) -> str:
        """Return the next part as printable ASCII, which all names in SSH formats are."""
        part = self.part()
        text = part.decode("ascii", "replace")
        if not text.isascii() or not text.isprintable():
            raise InvalidInputError(f"{self._what} has a name of strange bytes: {part[:40]!r}")
        return text

    def end(self) -> None:
        """Raise InvalidInputError when bytes are left."""
        left = len(self._content) - self._place
        if left:
            raise InvalidInputError(f"{self._what} has {left} bytes too many")


def framed(*parts: bytes) -> bytes:
    """Return parts one after the other, each behind its length."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def key_type(public_key: bytes) -> str:
    """Return the type of a public key in wire form, such as ``ssh-ed25519``."""
    return WireReader(public_key, "a public key").text()
