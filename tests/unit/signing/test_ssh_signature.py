from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import InvalidInputError
from tensorvcs.objects import commit
from tensorvcs.signing import ssh_signature
from tensorvcs.signing.ssh_signature import MAX_SIGNATURE_LENGTH, SshSignature, signed_bytes
from tensorvcs.signing.ssh_wire import WireReader, framed, key_type

KEY = framed(b"ssh-ed25519", b"k" * 32)
MADE = framed(b"ssh-ed25519", b"s" * 64)
SIGNATURE = SshSignature(KEY, MADE, "tensorvcs")
PARTS = [KEY, b"tensorvcs", b"", b"sha512", MADE]
BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


def armoured(content: bytes, width: int = 70) -> str:
    text = base64.b64encode(content).decode()
    return "\n".join([BEGIN, *(text[i : i + width] for i in range(0, len(text), width)), END, ""])


def blob(*parts: bytes, version: int = 1) -> bytes:
    return b"SSHSIG" + version.to_bytes(4, "big") + framed(*parts)


@given(
    st.binary(),
    st.binary(),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1),
    st.sampled_from(["sha512", "sha256"]),
    st.binary(),
)
def test_comes_back(key: bytes, made: bytes, namespace: str, hash_name: str, more: bytes) -> None:
    signature = SshSignature(
        framed(b"ssh-x", key), framed(b"ssh-y", made), namespace, hash_name, more
    )
    assert SshSignature.decode(signature.encode()) == signature


def test_is_spelled_as_the_format_says() -> None:
    assert SIGNATURE.encode() == armoured(blob(*PARTS))
    assert SIGNATURE.key_type == "ssh-ed25519"
    assert SIGNATURE.fingerprint == "SHA256:sArVyTbDlP2ByuRNM59Xf/iwOUmdy69sxylyNl3iUQQ"


def test_line_breaks_may_be_elsewhere() -> None:
    for width in (1, 64, 76, 10_000):
        assert SshSignature.decode(armoured(blob(*PARTS), width)) == SIGNATURE
    assert SshSignature.decode(SIGNATURE.encode().replace("\n", "\r\n") + "\n ") == SIGNATURE


def test_what_is_signed_depends_on_payload_namespace_and_hash() -> None:
    found = {
        signed_bytes(b"a", "tensorvcs"),
        signed_bytes(b"b", "tensorvcs"),
        signed_bytes(b"a", "git"),
        signed_bytes(b"a", "tensorvcs", "sha256"),
        signed_bytes(b"a", "tensorvcs", "sha512", b"more"),
    }
    assert len(found) == 5
    assert SIGNATURE.signed_bytes(b"a") == signed_bytes(b"a", "tensorvcs")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no signature between"),
        (BEGIN + END, "no signature between"),
        (SIGNATURE.encode()[:-5], "no signature between"),
        ("x" + SIGNATURE.encode(), "no signature between"),
        (SIGNATURE.encode() + "x", "no signature between"),
        (f"{BEGIN}\n{END}\n", "cut off"),
        (f"{BEGIN}\nAAA\n{END}\n", "no base64"),
        (f"{BEGIN}\nAA=A\n{END}\n", "no base64"),
        (f"{BEGIN}\nÄAAA\n{END}\n", "no signature between"),
        (armoured(b"SSHSIX" + blob(*PARTS)[6:]), "no SSH signature of version 1"),
        (armoured(blob(*PARTS, version=2)), "no SSH signature of version 1"),
        (armoured(blob(*PARTS[:-1])), "cut off: a part has 4 bytes, and 0 are left"),
        (armoured(blob(*PARTS)[:-1]), "cut off: a part has 83 bytes, and 82 are left"),
        (armoured(blob(*PARTS) + b"x"), "has 1 bytes too many"),
        (armoured(blob(KEY, b"", b"", b"sha512", MADE)), "no namespace"),
        (armoured(blob(KEY, b"a\nb", b"", b"sha512", MADE)), "strange bytes"),
        (armoured(blob(KEY, b"\xff", b"", b"sha512", MADE)), "strange bytes"),
        (armoured(blob(KEY, b"a", b"", b"md5", MADE)), "over 'md5'; expected sha512 or sha256"),
        (armoured(blob(b"", b"a", b"", b"sha512", MADE)), "a public key is cut off"),
        (armoured(blob(KEY, b"a", b"", b"sha512", b"")), "cut off"),
        (armoured(blob(*PARTS, b"x" * 2**16)), "characters; at most 16,384"),
    ],
)
def test_what_is_no_signature_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        SshSignature.decode(text)


def test_the_longest_one_is_read() -> None:
    padded = SIGNATURE.encode() + "\n" * MAX_SIGNATURE_LENGTH
    assert SshSignature.decode(padded[:MAX_SIGNATURE_LENGTH]) == SIGNATURE
    with pytest.raises(InvalidInputError, match="16,385 characters"):
        SshSignature.decode(padded[: MAX_SIGNATURE_LENGTH + 1])
    assert ssh_signature.MAX_SIGNATURE_LENGTH == commit.MAX_SIGNATURE_LENGTH


@given(st.text(max_size=300))
def test_no_text_raises_anything_else(text: str) -> None:
    for spelled in (text, f"{BEGIN}\n{text}\n{END}\n"):
        with suppress(InvalidInputError):
            SshSignature.decode(spelled)


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 200))
def test_no_bytes_raise_anything_else(content: bytes, start: int, end: int) -> None:
    whole = blob(*PARTS)
    for hostile in (content, b"SSHSIG\0\0\0\x01" + content, whole[:start] + content + whole[end:]):
        with suppress(InvalidInputError):
            found = SshSignature.decode(armoured(hostile))
            assert SshSignature.decode(found.encode()) == found


def test_wire_parts() -> None:
    reader = WireReader(framed(b"one", b"") + b"\0\0\1\0", "it")
    assert (reader.part(), reader.text(), reader.number()) == (b"one", "", 256)
    reader.end()
    assert key_type(KEY) == "ssh-ed25519"
    with pytest.raises(InvalidInputError, match="it is cut off: a part has 4 bytes, and 0 are"):
        reader.number()
