"""Whether the signature of a commit is good, and whose it is."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tensorvcs.errors import InvalidInputError
from tensorvcs.objects.digest import digest_of
from tensorvcs.signing.signer import NAMESPACE
from tensorvcs.signing.ssh_signature import SshSignature

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorvcs.history.commit import Commit
    from tensorvcs.signing.allowed_signers import AllowedSigners

_SECOND = 1_000_000

SignatureStatus = Literal["good", "bad", "unknown", "unsigned"]


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """What was found out about the signature of one commit.

    Parameters
    ----------
    commit : Commit
    status : {"good", "bad", "unknown", "unsigned"}
        ``good``: the key of an allowed signer, who is the committer, signed this very commit.
        ``bad``: the signature is not of this commit, or cannot be checked.
        ``unknown``: a key signed this commit, and no allowed signer stands behind it.
        ``unsigned``: there is no signature.
    principal : str, optional
        The mail address that a good signature stands for.
    fingerprint : str, optional
        The key, as ``SHA256:…``; a claim of the commit unless the status is good or unknown.
    reason : str
        Why, in words.
    """

    commit: Commit
    status: SignatureStatus
    principal: str | None
    fingerprint: str | None
    reason: str

    @property
    def is_good(self) -> bool:
        """Whether the commit is what an allowed signer recorded."""
        return self.status == "good"

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"

    def __repr__(self) -> str:
        return f"<SignatureCheck of {self.commit.short_id} {self}>"

    def _repr_html_(self) -> str:
        colour = "green" if self.is_good else "crimson"
        return (
            f"<code>{self.commit.short_id}</code> <b style='color:{colour}'>{self.status}</b> "
            f"{html.escape(self.reason)}"
        )


def check_signature(
    commit: Commit,
    allowed: AllowedSigners | None,
    is_signed_by: Callable[[bytes, bytes, bytes], bool],
) -> SignatureCheck:
    """Check the signature of a commit.

    Parameters
    ----------
    commit : Commit
    allowed : AllowedSigners, optional
        Who may sign; nobody is known when omitted.
    is_signed_by : callable
        Tells whether a public key made a signature of some bytes, both in wire form; raises
        InvalidInputError for a kind of key that it does not check.

    Notes
    -----
    The key must stand for the mail address of the committer, and the time that counts is that of
    the commit, which its signer wrote: whoever has a key can date a commit back to when the key was
    allowed. A good signature vouches for the digest of the content; that the bytes at hand have
    that digest, `verify` checks.
    """
    text = commit.signature
    if digest_of(commit.object.encode()) != commit.digest:
        return SignatureCheck(commit, "bad", None, None, "the commit does not hash to its id")
    if text is None:
        return SignatureCheck(commit, "unsigned", None, None, "the commit has no signature")
    try:
        signature = SshSignature.decode(text)
    except InvalidInputError as error:
        return SignatureCheck(commit, "bad", None, None, str(error))
    name = signature.fingerprint
    problem = _problem(signature, text, commit.object.payload, is_signed_by)
    if problem is not None:
        return SignatureCheck(commit, "bad", None, name, problem)
    principal = commit.committer.email
    if allowed is None:
        refusal: str | None = "no allowed signers are named"
    else:
        seconds = commit.object.commit_time.microseconds // _SECOND
        refusal = allowed.refusal(signature.public_key, principal, NAMESPACE, seconds)
    if refusal is not None:
        return SignatureCheck(commit, "unknown", None, name, f"signed with {name}, but {refusal}")
    return SignatureCheck(commit, "good", principal, name, f"signed by {principal} with {name}")


def _problem(
    signature: SshSignature,
    text: str,
    payload: bytes,
    is_signed_by: Callable[[bytes, bytes, bytes], bool],
) -> str | None:
    """Return why a signature is not one of a payload, None when it is."""
    if signature.namespace != NAMESPACE:
        return f"the signature is for {signature.namespace!r}, not for {NAMESPACE!r}"
    # One signature has one spelling, so that it cannot be respelled to give a commit another id.
    if signature.encode() != text:
        return "the signature is not spelled as ssh-keygen spells it"
    content = signature.signed_bytes(payload)
    try:
        is_signed = is_signed_by(signature.public_key, signature.signature, content)
    except InvalidInputError as error:
        return str(error)
    return (
        None if is_signed else f"the signature with {signature.fingerprint} is not of this commit"
    )
