from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import InvalidInputError, NotFoundError, StorageError
from tensorvcs.signing.allowed_signers import AllowedSigner, AllowedSigners, matches
from tensorvcs.signing.ssh_wire import framed

if TYPE_CHECKING:
    from pathlib import Path

KEY = framed(b"ssh-ed25519", b"k" * 32)
OTHER = framed(b"ssh-rsa", b"k", b"m")
WORDS = f"ssh-ed25519 {base64.b64encode(KEY).decode()}"
OTHER_WORDS = f"ssh-rsa {base64.b64encode(OTHER).decode()}"
DAY = 86_400


def only(line: str) -> AllowedSigner:
    (signer,) = AllowedSigners.parse(line).signers
    return signer


@pytest.mark.parametrize(
    ("patterns", "does"),
    [
        ("ada@example.org", True),
        ("ada@example", False),
        ("*", True),
        ("", False),
        ("a?a@*.org", True),
        ("a?@*", False),
        ("bob,ada@*", True),
        ("!ada@*", False),
        ("*,!ada@*", False),
        ("!ada@*,*", False),
        ("*,!bob@*", True),
        ("[a]da@*", False),
        ("*.ORG", False),
    ],
)
def test_patterns(patterns: str, does: bool) -> None:
    assert matches("ada@example.org", patterns) is does


def test_brackets_are_no_pattern() -> None:
    assert matches("[a]", "[a]")
    assert not matches("a\n", "a")


def test_a_line_with_everything() -> None:
    signer = only(
        'a@b,*@c namespaces="x,\\"y",valid-after="19700102Z",Valid-Before="197001030000UTC" '
        f"{WORDS} who it is"
    )
    assert signer == AllowedSigner("a@b,*@c", KEY, 'x,"y', DAY, 2 * DAY, 1)


def test_lines() -> None:
    text = f"# comment\r\n\r\n  \t\n a@b {WORDS}\r\n\n{OTHER_WORDS.join(['c ', ' rest'])}"
    signers = AllowedSigners.parse(text, "who")
    assert [(s.principals, s.public_key, s.line) for s in signers.signers] == [
        ("a@b", KEY, 4),
        ("c", OTHER, 6),
    ]
    assert repr(signers) == "<AllowedSigners who: 2 keys>"
    assert len(AllowedSigners.parse("")) == 0


def test_principals_in_quotation_marks() -> None:
    assert only(f'"a b,c"  {WORDS}').principals == "a b,c"


def test_a_time_without_z_is_local() -> None:
    signer = only(f'a valid-after="20200101" {WORDS}')
    assert signer.valid_after is not None
    assert abs(signer.valid_after - 1_577_836_800) < DAY


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a@b", "no public key behind 'a@b': ''"),
        ('"a@b', "a quotation mark is missing"),
        ("a@b ssh-ed25519", "no public key"),
        ("a@b ssh-ed25519 !!!", "no public key"),
        ("a@b ssh-ed25519 AAA", "no public key"),
        ("a@b ssh-ed25519 AAAA", "no public key"),
        (f"a@b ssh-rsa {WORDS.split()[1]}", "no public key"),
        (WORDS, "no public key"),
        (f"a@b cert-authority {WORDS}", "keys of a cert-authority are not supported"),
        (f'a@b namespaces="x",cert-authority {WORDS}', "keys of a cert-authority"),
        (f"a@b namespaces {WORDS}", "the option namespaces needs a value"),
        (f'a@b namespaces="x",namespaces="y" {WORDS}', "namespaces is given twice"),
        (f'a@b namespace="x" {WORDS}', "there is no option 'namespace'"),
        (f'a@b namespaces="x", {WORDS}', "options cannot be read"),
        (f"a@b namespaces=x {WORDS}", "options cannot be read"),
        (f'a@b namespaces="x {WORDS}', "no public key"),
        (f'a@b valid-after="2020" {WORDS}', "valid-after='2020' is no time"),
        (f'a@b valid-after="20201301" {WORDS}', "is no time"),
        (f'a@b valid-after="2020 101" {WORDS}', "is no time"),
        (f'a@b valid-after="19691231Z" {WORDS}', "is no time"),
        (f'a@b valid-after="00010101" {WORDS}', "is no time"),
        (f'a@b valid-before="" {WORDS}', "is no time"),
        (f'a@b valid-after="20200102Z",valid-before="20200102Z" {WORDS}', "not later"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem) as caught:
        AllowedSigners.parse(f"# first\n{line}\n", "who")
    assert str(caught.value).startswith("who, line 2: ")


@given(st.text(), st.text(st.sampled_from('ab@*!,="\\ \tZ0129-')))
def test_no_text_raises_anything_else(text: str, likely: str) -> None:
    for line in (text, likely, f"a {likely} {WORDS}", f"{likely} {WORDS}"):
        with suppress(InvalidInputError):
            AllowedSigners.parse(line)


def test_why_a_key_is_refused() -> None:
    signers = AllowedSigners.parse(
        f'bob {WORDS}\na namespaces="git" {WORDS}\na valid-after="19700103Z" {WORDS}\n'
        f'a valid-before="19700101000001Z" {WORDS}\n',
        "who",
    )
    assert signers.refusal(KEY, "a", "tensorvcs", DAY) == (
        "who: line 1 has the key for bob, not for a; "
        "line 2 has the key for git, not for tensorvcs; "
        "line 3 has the key only from 1970-01-03 00:00:00 UTC on; "
        "line 4 has the key only until 1970-01-01 00:00:01 UTC"
    )
    assert signers.refusal(KEY, "bob", "tensorvcs", DAY) is None
    assert signers.refusal(KEY, "a", "git", DAY) is None
    assert signers.refusal(KEY, "a", "tensorvcs", 2 * DAY) is None
    assert signers.refusal(KEY, "a", "tensorvcs", 1) is None
    assert signers.refusal(OTHER, "a", "git", DAY) == "no line of who has the key"


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "allowed"
    with pytest.raises(NotFoundError, match="there is no allowed-signers file"):
        AllowedSigners.read(file)
    file.write_text(f"a {WORDS}\n")
    assert AllowedSigners.read(str(file)).refusal(KEY, "a", "x", 1) is None
    file.write_bytes(b"\xff")
    with pytest.raises(InvalidInputError, match="is no text"):
        AllowedSigners.read(file)
    with pytest.raises(StorageError, match="cannot be read: Is a directory"):
        AllowedSigners.read(tmp_path)
