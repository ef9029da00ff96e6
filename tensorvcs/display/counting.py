"""Numbers with their nouns."""

from __future__ import annotations


def count_text(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as ``1 sample`` or ``2,000 samples``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
