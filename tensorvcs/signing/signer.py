"""Signer: what a caller hands in to have a commit signed."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from tensorvcs.errors import InvalidInputError
from tensorvcs.signing.ssh_signature import MAX_SIGNATURE_LENGTH, SshSignature

NAMESPACE = "tensorvcs"
"""What signatures of commits are made for."""


@runtime_checkable
class Signer(Protocol):
    """Makes signatures: a key file (`tensorvcs.signing.ed25519.SshSigner`), an agent, a service."""

    def sign(self, payload: bytes) -> str:
        """Return an armoured SSHSIG signature of the payload in the namespace ``tensorvcs``."""
        ...


def check_signer(signer: object) -> Signer | None:
    """Return what was given to sign with, or raise InvalidInputError when it cannot sign."""
    if signer is None or (isinstance(signer, Signer) and not isinstance(signer, type)):
        return signer
    raise InvalidInputError(
        f"cannot sign with a {type(signer).__name__}; expected a Signer, such as "
        "tensorvcs.SshSigner.open('~/.ssh/id_ed25519')"
    )


def sign_payload(signer: Signer, payload: bytes) -> str:
    """Return the signature of a payload in its one spelling.

    Raises
    ------
    InvalidInputError
        The signer returned something else than a signature for commits.
    """
    text = signer.sign(payload)
    if not isinstance(text, str):
        raise InvalidInputError(f"a signer returned a {type(text).__name__}, not a str")
    signature = SshSignature.decode(text)
    if signature.namespace != NAMESPACE:
        raise InvalidInputError(
            f"a signer signed for the namespace {signature.namespace!r}, not {NAMESPACE!r}"
        )
    spelling = signature.encode()
    if len(spelling) > MAX_SIGNATURE_LENGTH:
        raise InvalidInputError(
            f"a signer returned a signature of {len(spelling):,} characters; "
            f"a commit holds at most {MAX_SIGNATURE_LENGTH:,}"
        )
    return spelling
