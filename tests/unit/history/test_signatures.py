from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import InvalidInputError
from tensorvcs.history.commit import Commit
from tensorvcs.history.signatures import SignatureCheck, check_signature
from tensorvcs.objects.commit import CommitObject, Identity, Timestamp
from tensorvcs.objects.digest import CommitDigest, SnapshotDigest, digest_of
from tensorvcs.signing.allowed_signers import AllowedSigner, AllowedSigners
from tensorvcs.signing.ssh_signature import SshSignature
from tensorvcs.signing.ssh_wire import framed

if TYPE_CHECKING:
    from collections.abc import Callable

ADA = Identity("Ada", "ada@example.org")
BOB = Identity("Bob", "bob@example.org")
NOON = Timestamp(1_700_000_000_999_999, 60)
COMMIT = CommitObject(
    SnapshotDigest(b"s" * 32), (), 0, BOB, Timestamp(0), ADA, NOON, "m", {"source": "uni-3"}
)
KEY = framed(b"test", b"a key")
ALLOWED = AllowedSigners([AllowedSigner("ada@*", KEY, line=1)], "who")


class PlainSigner:
    """Signs with the content itself, which `is_signed` compares: all but the cryptography."""

    def __init__(self, namespace: str = "tensorvcs") -> None:
        self._namespace = namespace

    def sign(self, payload: bytes) -> str:
        empty = SshSignature(KEY, b"", self._namespace)
        return replace(empty, signature=framed(b"test", empty.signed_bytes(payload))).encode()


def is_signed(public_key: bytes, signature: bytes, content: bytes) -> bool:
    return public_key == KEY and signature == framed(b"test", content)


def as_commit(found: CommitObject) -> Commit:
    return Commit(CommitDigest(digest_of(found.encode())), found)


def signed(found: CommitObject = COMMIT, namespace: str = "tensorvcs") -> CommitObject:
    return replace(found, signature=PlainSigner(namespace).sign(found.payload))


def check(found: CommitObject, allowed: AllowedSigners | None = ALLOWED) -> SignatureCheck:
    return check_signature(as_commit(found), allowed, is_signed)


def test_good() -> None:
    found = check(signed())
    assert found.is_good
    assert (found.status, found.principal) == ("good", "ada@example.org")
    assert found.fingerprint == as_commit(signed()).signing_key
    assert str(found) == f"good: signed by ada@example.org with {found.fingerprint}"
    assert repr(found) == f"<SignatureCheck of {found.commit.short_id} {found}>"
    assert "green" in found._repr_html_()


def test_unsigned() -> None:
    found = check(COMMIT)
    assert (found.status, found.is_good, found.fingerprint) == ("unsigned", False, None)
    assert found.commit.signature is None and found.commit.signing_key is None
    assert "crimson" in found._repr_html_()


@pytest.mark.parametrize(
    "change",
    [
        {"snapshot": SnapshotDigest(b"t" * 32)},
        {"parents": (CommitDigest(b"p" * 32),)},
        {"generation": 1},
        {"author": ADA},
        {"author_time": Timestamp(1)},
        {"committer": BOB},
        {"commit_time": Timestamp(NOON.microseconds + 1, 60)},
        {"commit_time": Timestamp(NOON.microseconds, 0)},
        {"message": "n"},
        {"metadata": {"source": "uni-4"}},
        {"metadata": {}},
    ],
)
def test_a_changed_part_makes_the_signature_bad(change: dict[str, Any]) -> None:
    found = check(replace(signed(), **change))
    assert found.status == "bad"
    assert found.reason == f"the signature with {found.fingerprint} is not of this commit"


def test_a_signature_of_another_commit_is_bad() -> None:
    other = signed(replace(COMMIT, message="other")).signature
    assert check(replace(COMMIT, signature=other)).status == "bad"


def test_a_signature_for_something_else_is_bad() -> None:
    found = check(signed(namespace="git"))
    assert (found.status, found.reason) == (
        "bad",
        "the signature is for 'git', not for 'tensorvcs'",
    )


@pytest.mark.parametrize(
    "respell", [lambda text: text[:-1], lambda text: text + "\n", lambda t: t.replace("\n", " ")]
)
def test_another_spelling_would_be_another_id_and_is_bad(respell: Callable[[str], str]) -> None:
    text = signed().signature
    assert text is not None
    assert SshSignature.decode(respell(text)) == SshSignature.decode(text)
    found = check(replace(COMMIT, signature=respell(text)))
    assert (found.status, found.reason) == (
        "bad",
        "the signature is not spelled as ssh-keygen spells it",
    )


def test_a_text_that_is_no_signature_is_bad() -> None:
    found = check(replace(COMMIT, signature="x"))
    assert (found.status, found.fingerprint) == ("bad", None)
    assert found.commit.signing_key == "a signature that cannot be read"


def test_a_kind_of_key_that_is_not_checked_is_bad() -> None:
    def refuse(public_key: bytes, signature: bytes, content: bytes) -> bool:
        raise InvalidInputError("a key of type 'test'")

    found = check_signature(as_commit(signed()), ALLOWED, refuse)
    assert (found.status, found.reason) == ("bad", "a key of type 'test'")


def test_a_commit_under_another_id_is_bad() -> None:
    commit = Commit(CommitDigest(b"x" * 32), signed())
    found = check_signature(commit, ALLOWED, is_signed)
    assert (found.status, found.reason) == ("bad", "the commit does not hash to its id")


@pytest.mark.parametrize(
    ("allowed", "reason"),
    [
        (None, "no allowed signers are named"),
        (AllowedSigners([], "who"), "no line of who has the key"),
        (
            AllowedSigners([AllowedSigner("bob@*", KEY, line=3)], "who"),
            "who: line 3 has the key for bob@*, not for ada@example.org",
        ),
        (
            AllowedSigners([AllowedSigner("*", KEY, "git", line=1)], "who"),
            "who: line 1 has the key for git, not for tensorvcs",
        ),
    ],
)
def test_unknown_signers(allowed: AllowedSigners | None, reason: str) -> None:
    found = check(signed(), allowed)
    assert (found.status, found.principal) == ("unknown", None)
    assert found.reason == f"signed with {found.fingerprint}, but {reason}"


@pytest.mark.parametrize(
    ("after", "before", "status"),
    [
        (1_700_000_000, 1_700_000_000, "good"),
        (1_700_000_001, None, "unknown"),
        (None, 1_699_999_999, "unknown"),
    ],
)
def test_the_time_that_counts_is_that_of_the_committer(
    after: int | None, before: int | None, status: str
) -> None:
    allowed = AllowedSigners([AllowedSigner("*", KEY, None, after, before)], "who")
    assert check(signed(), allowed).status == status


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(0, 400))
def test_a_hostile_signature_is_bad_and_nothing_else(text: str, place: int) -> None:
    whole = signed().signature or ""
    for hostile in (text, whole[:place] + text + whole[place + len(text) :]):
        if hostile != whole:
            assert check(replace(COMMIT, signature=hostile)).status == "bad"
