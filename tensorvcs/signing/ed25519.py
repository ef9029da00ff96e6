"""ed25519 keys of OpenSSH: sign with a private one, check with a public one.

The one module that uses the package ``cryptography``, which the extra ``sign`` installs.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tensorvcs.errors import (
    InvalidInputError,
    MissingDependencyError,
    NotFoundError,
    StorageError,
    with_hint,
)
from tensorvcs.signing.signer import NAMESPACE
from tensorvcs.signing.ssh_signature import SshSignature, fingerprint, signed_bytes
from tensorvcs.signing.ssh_wire import WireReader, framed, key_type

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_TYPE = "ssh-ed25519"
_BEGIN = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_END = b"-----END OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"
_MAX_FILE_NBYTES = 1 << 20


class SshSigner:
    """Signs with an ed25519 private key of OpenSSH; made by `open`.

    Cannot be pickled, so that the key stays in the process that was given it.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public_key = framed(KEY_TYPE.encode(), key.public_key().public_bytes_raw())

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        passphrase: Callable[[], str | None] | None = None,
    ) -> SshSigner:
        """Read the private key of a file, such as ``~/.ssh/id_ed25519``.

        Parameters
        ----------
        path : path
            In the format of OpenSSH; a leading ``~`` is the home folder.
        passphrase : callable, optional
            Called once when the key is encrypted; None from it gives up.

        Raises
        ------
        NotFoundError
            There is no such file.
        InvalidInputError
            It is no private key of OpenSSH or one of another type, or it is encrypted and the
            passphrase is missing or wrong.
        MissingDependencyError
            The package ``cryptography``, or for an encrypted key ``bcrypt``, is not installed.
        StorageError
            The file cannot be read.
        """
        file = Path(path).expanduser()
        content = _read(file)
        found_type, is_encrypted = _look_at(content, file)
        if found_type != KEY_TYPE:
            raise with_hint(
                InvalidInputError(
                    f"the key {file} is of type {found_type!r}; only {KEY_TYPE!r} keys sign"
                ),
                "make one: ssh-keygen -t ed25519",
            )
        if not is_encrypted:
            return cls(_load(content, None, file))
        secret = None if passphrase is None else passphrase()
        if secret is None:
            raise with_hint(
                InvalidInputError(f"the key {file} is encrypted, and no passphrase was given"),
                "run it on a terminal to be asked, or pass passphrase= to SshSigner.open",
            )
        return cls(_load(content, secret, file))

    @property
    def public_key(self) -> str:
        """The public key as it stands in an allowed-signers file: type and base64."""
        return f"{KEY_TYPE} {base64.b64encode(self._public_key).decode()}"

    @property
    def fingerprint(self) -> str:
        """The name of the key, as ``ssh-keygen -l`` prints it."""
        return fingerprint(self._public_key)

    def sign(self, payload: bytes) -> str:
        """Return the armoured signature of a payload; always the same for the same payload."""
        made = self._key.sign(signed_bytes(payload, NAMESPACE))
        return SshSignature(self._public_key, framed(KEY_TYPE.encode(), made), NAMESPACE).encode()

    def __repr__(self) -> str:
        return f"<SshSigner {self.fingerprint}>"

    def __reduce__(self) -> NoReturn:
        raise with_hint(
            InvalidInputError("a private key is not pickled"),
            "open it in the process that signs: SshSigner.open(path)",
        )


def is_signed_by(public_key: bytes, signature: bytes, content: bytes) -> bool:
    """Tell whether an ed25519 key made a signature of some bytes.

    Parameters
    ----------
    public_key, signature : bytes
        In wire form.
    content : bytes
        What `tensorvcs.signing.ssh_signature.signed_bytes` gives.

    Raises
    ------
    InvalidInputError
        The key is of another type, or key or signature have not the length of theirs.
    MissingDependencyError
        The package ``cryptography`` is not installed.
    """
    parts = []
    for what, wire, nbytes in (("key", public_key, 32), ("signature", signature, 64)):
        reader = WireReader(wire, f"a {what}")
        found = reader.text()
        if found != KEY_TYPE:
            raise InvalidInputError(
                f"a {what} of type {found!r}; only those of {KEY_TYPE!r} are checked"
            )
        part = reader.part()
        reader.end()
        if len(part) != nbytes:
            raise InvalidInputError(f"an ed25519 {what} of {len(part)} bytes, expected {nbytes}")
        parts.append(part)
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise MissingDependencyError("cryptography", "sign", "checking a signature") from error
    try:
        Ed25519PublicKey.from_public_bytes(parts[0]).verify(parts[1], content)
    except InvalidSignature:
        return False
    return True


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_FILE_NBYTES)
    except FileNotFoundError as error:
        raise with_hint(
            NotFoundError(f"there is no key file {str(file)!r}"), "make one: ssh-keygen -t ed25519"
        ) from error
    except OSError as error:
        raise StorageError(f"the key {file} cannot be read: {error.strerror}") from error


def _look_at(content: bytes, file: Path) -> tuple[str, bool]:
    """Return the type of a private key and whether it is encrypted; neither is secret."""
    text = content.strip()
    if text.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        raise with_hint(
            InvalidInputError(f"{file} is a public key, and a private one signs"),
            f"name the file without .pub: {file.with_suffix('')}",
        )
    if not (text.startswith(_BEGIN) and text.endswith(_END)):
        raise with_hint(
            InvalidInputError(f"{file} holds no private key of OpenSSH"),
            "make one: ssh-keygen -t ed25519",
        )
    try:
        blob = base64.b64decode(text[len(_BEGIN) : -len(_END)])
    except binascii.Error as error:
        raise InvalidInputError(f"the key {file} is no base64: {error}") from error
    reader = WireReader(blob, f"the key {file}")
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise InvalidInputError(f"the key {file} is in a format that is not known")
    cipher = reader.text()
    reader.part()
    reader.part()
    reader.number()
    return key_type(reader.part()), cipher != "none"


def _load(content: bytes, passphrase: str | None, file: Path) -> Ed25519PrivateKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key
    except ImportError as error:
        raise MissingDependencyError("cryptography", "sign", "signing a commit") from error
    try:
        secret = None if passphrase is None else passphrase.encode()
        key = load_ssh_private_key(content.strip(), secret)
    except UnsupportedAlgorithm as error:
        if "bcrypt" in str(error):
            raise MissingDependencyError("bcrypt", "sign", "reading an encrypted key") from error
        raise InvalidInputError(f"the key {file} cannot be read: {error}") from error
    except (ValueError, TypeError) as error:
        why = "the passphrase is wrong, or it is damaged" if passphrase is not None else str(error)
        raise InvalidInputError(f"the key {file} cannot be read: {why}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidInputError(f"the key {file} says it is of {KEY_TYPE!r}, and is not")
    return key
