"""How keys, sizes and texts look."""

from __future__ import annotations

import pytest

from cli.text import key_text, printable, size_text


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1440, "1.44 kB"),
        (99_499, "99.5 kB"),
        (999_499, "999 kB"),
        (999_501, "1 MB"),
        (1_440_000, "1.44 MB"),
        (123_456_789, "123 MB"),
        (10**12, "1 TB"),
        (5 * 10**18, "5,000 PB"),
    ],
)
def test_sizes(nbytes: int, text: str) -> None:
    assert size_text(nbytes) == text


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("cat/1", "cat/1"),
        (5, "5"),
        (-5, "-5"),
        ("5", '"5"'),
        ("-5", '"-5"'),
        ("5a", "5a"),
        (" a", '" a"'),
        ("a\nb", '"a\\nb"'),
        ("Füße", "Füße"),
        (("scan", 3), "scan[3]"),
        ((7, "slice"), "7[slice]"),
    ],
)
def test_keys(key: object, text: str) -> None:
    assert key_text(key) == text


def test_control_characters_cannot_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x9b\u202ec\ufeff") == "a\\x1b[2Jb\\x9b\\u202ec\\ufeff"
    assert key_text("\x1b[2J").isprintable()
    assert key_text("\u202e").isprintable()
