from __future__ import annotations

import base64
import pickle
import sys
from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import (
    InvalidInputError,
    MissingDependencyError,
    NotFoundError,
    StorageError,
)
from tensorvcs.signing.ed25519 import SshSigner, is_signed_by
from tensorvcs.signing.ssh_signature import SshSignature
from tensorvcs.signing.ssh_wire import framed
from tests.ssh_keys import key_of, write_key

if TYPE_CHECKING:
    from pathlib import Path

serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")

BEGIN = "-----BEGIN OPENSSH PRIVATE KEY-----"
END = "-----END OPENSSH PRIVATE KEY-----"


def test_signs(tmp_path: Path) -> None:
    signer = SshSigner.open(write_key(tmp_path / "key"))
    text = signer.sign(b"content")
    assert text == signer.sign(b"content") == SshSigner(key_of(1)).sign(b"content")
    found = SshSignature.decode(text)
    assert (found.namespace, found.hash_name) == ("tensorvcs", "sha512")
    assert found.fingerprint == signer.fingerprint
    assert signer.public_key == f"ssh-ed25519 {base64.b64encode(found.public_key).decode()}"
    assert repr(signer) == f"<SshSigner {signer.fingerprint}>"
    signed = found.signed_bytes(b"content")
    assert is_signed_by(found.public_key, found.signature, signed)
    assert not is_signed_by(found.public_key, found.signature, signed + b"x")
    other = SshSignature.decode(SshSigner(key_of(2)).sign(b"content"))
    assert not is_signed_by(other.public_key, found.signature, signed)
    assert not is_signed_by(found.public_key, other.signature, signed)


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_key(tmp_path / "key")
    assert SshSigner.open("~/key").public_key == SshSigner(key_of(1)).public_key


def test_a_passphrase_is_asked_once_and_only_when_needed(tmp_path: Path) -> None:
    asked = []

    def answer() -> str:
        asked.append(1)
        return "correct horse é"

    SshSigner.open(write_key(tmp_path / "plain"), answer)
    assert asked == []
    path = write_key(tmp_path / "key", 1, "correct horse é")
    assert SshSigner.open(path, answer).public_key == SshSigner(key_of(1)).public_key
    assert asked == [1]
    with pytest.raises(InvalidInputError, match="is encrypted, and no passphrase was given"):
        SshSigner.open(path)
    with pytest.raises(InvalidInputError, match="is encrypted, and no passphrase was given"):
        SshSigner.open(path, lambda: None)
    for wrong in ("", "wrong", "\ud800"):
        with pytest.raises(InvalidInputError, match=r"cannot be read: .*passphrase"):
            SshSigner.open(path, lambda text=wrong: text)  # type: ignore[misc]


def test_a_private_key_is_not_pickled() -> None:
    with pytest.raises(InvalidInputError, match="a private key is not pickled"):
        pickle.dumps(SshSigner(key_of(1)))


def armoured(content: bytes) -> str:
    return f"{BEGIN}\n{base64.b64encode(content).decode()}\n{END}\n"


def header(kind: bytes, cipher: bytes = b"none") -> bytes:
    return b"openssh-key-v1\0" + framed(cipher, b"none", b"") + b"\0\0\0\1" + framed(framed(kind))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "holds no private key of OpenSSH"),
        ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", "no private key of OpenSSH"),
        (f"{BEGIN}\nAAAA\n", "holds no private key of OpenSSH"),
        (SshSigner(key_of(1)).public_key, "is a public key, and a private one signs"),
        ("ecdsa-sha2-nistp256 AAAA", "is a public key"),
        (f"{BEGIN}\nAAA\n{END}", "is no base64"),
        (f"{BEGIN}\nAAAA\n{END}", "is cut off"),
        (armoured(b"x" * 100), "is in a format that is not known"),
        (armoured(header(b"ssh-rsa")), "is of type 'ssh-rsa'; only 'ssh-ed25519' keys sign"),
        (armoured(header(b"sk-ssh-ed25519@openssh.com")), "is of type 'sk-ssh-ed25519@openssh.com"),
        (armoured(header(b"ssh-ed25519")), "cannot be read: "),
        (armoured(header(b"ssh-ed25519", b"twofish")), "cannot be read: "),
    ],
)
def test_what_is_no_key_says_so(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "key.pub"
    file.write_text(content)
    with pytest.raises(InvalidInputError, match=problem) as caught:
        SshSigner.open(file, lambda: "secret")
    assert str(file) in str(caught.value)


def test_a_key_that_lies_about_its_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialization, "load_ssh_private_key", lambda *_: object())
    with pytest.raises(InvalidInputError, match="says it is of 'ssh-ed25519', and is not"):
        SshSigner.open(write_key(tmp_path / "key"))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no key file"):
        SshSigner.open(tmp_path / "nothing")
    with pytest.raises(StorageError, match="cannot be read: Is a directory"):
        SshSigner.open(tmp_path)


@pytest.mark.parametrize(
    ("key", "made", "problem"),
    [
        ((b"ssh-rsa", b"k" * 32), (b"ssh-ed25519", b"s" * 64), "a key of type 'ssh-rsa'"),
        ((b"ssh-ed25519", b"k" * 32), (b"ssh-rsa", b"s" * 64), "a signature of type 'ssh-rsa'"),
        ((b"ssh-ed25519", b"k" * 31), (b"ssh-ed25519", b"s" * 64), "key of 31 bytes, expected 32"),
        ((b"ssh-ed25519", b"k" * 32), (b"ssh-ed25519", b"s" * 65), "of 65 bytes, expected 64"),
        ((b"ssh-ed25519", b"k" * 32, b""), (b"ssh-ed25519", b"s" * 64), "4 bytes too many"),
        ((b"ssh-ed25519",), (b"ssh-ed25519", b"s" * 64), "cut off"),
    ],
)
def test_other_keys_are_not_checked(
    key: tuple[bytes, ...], made: tuple[bytes, ...], problem: str
) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        is_signed_by(framed(*key), framed(*made), b"x")


def test_a_key_that_is_no_point_signs_nothing() -> None:
    key = framed(b"ssh-ed25519", b"\xff" * 32)
    assert not is_signed_by(key, framed(b"ssh-ed25519", b"s" * 64), b"x")


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_key(tmp_path / "key")
    signature = SshSignature.decode(SshSigner.open(file).sign(b"x"))
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    for call in (
        lambda: SshSigner.open(file),
        lambda: is_signed_by(signature.public_key, signature.signature, b"x"),
    ):
        with pytest.raises(MissingDependencyError, match="needs the package 'cryptography'") as e:
            call()
        assert e.value.hint == "pip install 'tensorvcs[sign]'"


def test_without_what_decrypts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = pytest.importorskip("cryptography.exceptions")
    file = write_key(tmp_path / "key")

    def refuse(*_: object) -> None:
        raise exceptions.UnsupportedAlgorithm(why)

    monkeypatch.setattr(serialization, "load_ssh_private_key", refuse)
    why = "Need bcrypt module"
    with pytest.raises(MissingDependencyError, match="needs the package 'bcrypt'"):
        SshSigner.open(file)
    why = "twofish"
    with pytest.raises(InvalidInputError, match="cannot be read: twofish"):
        SshSigner.open(file)
