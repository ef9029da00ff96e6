"""Harm: what is done to a file or a record, on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def flip_bit(path: Path, at: int, bit: int = 0) -> None:
    """Flip one bit of the byte at an offset."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))


def zero_block(path: Path, at: int, nbytes: int = 512) -> None:
    """Overwrite a block with zeros, up to the end of the file."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(at)
        file.write(bytes(min(nbytes, size - at)))


def truncate(path: Path, nbytes: int) -> None:
    """Cut a file to a size."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.truncate(nbytes)


def swap(one: Path, other: Path) -> None:
    """Have two files change names."""
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
