from __future__ import annotations

from typing import Any

import pytest

from tensorvcs.errors import InvalidInputError
from tensorvcs.signing.signer import Signer, check_signer, sign_payload
from tensorvcs.signing.ssh_signature import MAX_SIGNATURE_LENGTH, SshSignature
from tensorvcs.signing.ssh_wire import framed
from tests.unit.signing.test_ssh_signature import BEGIN, END, SIGNATURE, armoured, blob


class Canned:
    """Signs everything with the same text."""

    def __init__(self, text: Any) -> None:
        self._text = text

    def sign(self, payload: bytes) -> str:
        text: str = self._text
        return text


def test_a_signature_is_put_into_its_one_spelling() -> None:
    text = SIGNATURE.encode()
    body = "".join(text.split("\n")[1:-2])
    assert sign_payload(Canned(text), b"x") == text
    assert sign_payload(Canned(f"{BEGIN}\n{body}\n{END}"), b"x") == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"x", "a signer returned a bytes, not a str"),
        (None, "a signer returned a NoneType"),
        ("", "no signature"),
        (SshSignature(SIGNATURE.public_key, SIGNATURE.signature, "git").encode(), "'git'"),
    ],
)
def test_what_a_signer_may_not_return(text: Any, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        sign_payload(Canned(text), b"x")


def test_a_signature_that_grows_too_long_in_its_spelling_is_refused() -> None:
    empty = blob(SIGNATURE.public_key, b"tensorvcs", b"", b"sha512", framed(b"x", b""))
    room = (MAX_SIGNATURE_LENGTH - 100) // 4 * 3 - len(empty)
    content = blob(SIGNATURE.public_key, b"tensorvcs", b"", b"sha512", framed(b"x", b"s" * room))
    text = armoured(content, width=10**6)
    assert len(text) <= MAX_SIGNATURE_LENGTH
    with pytest.raises(InvalidInputError, match="a commit holds at most 16,384"):
        sign_payload(Canned(text), b"x")


def test_what_can_sign() -> None:
    signer = Canned("")
    assert isinstance(signer, Signer)
    assert check_signer(signer) is signer
    assert check_signer(None) is None


@pytest.mark.parametrize("signer", ["~/.ssh/id_ed25519", True, b"x", Canned, object()])
def test_what_cannot_sign_is_refused(signer: object) -> None:
    with pytest.raises(InvalidInputError, match="expected a Signer, such as "):
        check_signer(signer)
