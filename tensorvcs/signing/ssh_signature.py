"""SSHSIG: the signature that ``ssh-keygen -Y sign`` writes and ``-Y verify`` reads."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from tensorvcs.errors import InvalidInputError
from tensorvcs.signing.ssh_wire import WireReader, framed, key_type

_MAGIC = b"SSHSIG"
_VERSION = 1
_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"
_LINE_LENGTH = 70
_ARMOUR = re.compile(rf"{_BEGIN}\s+([A-Za-z0-9+/=\s]*){_END}\s*", re.ASCII)
_HASHES = {"sha512": hashlib.sha512, "sha256": hashlib.sha256}

MAX_SIGNATURE_LENGTH = 16_384
"""Characters of an armoured signature; one of ed25519 has about 300."""


@dataclass(frozen=True, slots=True)
class SshSignature:
    """A signature with the key that made it.

    Parameters
    ----------
    public_key : bytes
        In wire form: the type and the key, each behind its length.
    signature : bytes
        In wire form: the kind of signature and its bytes, each behind its length.
    namespace : str
        What it was made for.
    hash_name : {"sha512", "sha256"}
        What the payload was hashed with.
    reserved : bytes
        Empty in version 1 of the format; signed with the rest.

    References
    ----------
    PROTOCOL.sshsig of OpenSSH.
    """

    public_key: bytes
    signature: bytes
    namespace: str
    hash_name: str = "sha512"
    reserved: bytes = b""

    @classmethod
    def decode(cls, text: str) -> SshSignature:
        """Read an armoured signature; line breaks may be anywhere in its base64.

        Raises
        ------
        InvalidInputError
            It is too long, cut off, not base64, of another version, or names no hash of SSHSIG.
        """
        if len(text) > MAX_SIGNATURE_LENGTH:
            raise InvalidInputError(
                f"a signature of {len(text):,} characters; at most {MAX_SIGNATURE_LENGTH:,} can be"
            )
        match = _ARMOUR.fullmatch(text)
        if match is None:
            raise InvalidInputError(f"no signature between {_BEGIN!r} and {_END!r}")
        try:
            content = base64.b64decode("".join(match[1].split()), validate=True)
        except binascii.Error as error:
            raise InvalidInputError(f"a signature is no base64: {error}") from error
        return cls._of(WireReader(content, "a signature"))

    @classmethod
    def _of(cls, reader: WireReader) -> SshSignature:
        magic = reader.take(len(_MAGIC))
        version = reader.number()
        if magic != _MAGIC or version != _VERSION:
            raise InvalidInputError(f"no SSH signature of version 1, but {magic!r} {version}")
        public_key = reader.part()
        namespace = reader.text()
        reserved = reader.part()
        hash_name = reader.text()
        signature = reader.part()
        reader.end()
        if not namespace:
            raise InvalidInputError("a signature has no namespace")
        if hash_name not in _HASHES:
            raise InvalidInputError(f"a signature over {hash_name!r}; expected sha512 or sha256")
        key_type(public_key)
        key_type(signature)
        return cls(public_key, signature, namespace, hash_name, reserved)

    def encode(self) -> str:
        """Return the armoured text, letter for letter as ssh-keygen writes it."""
        names = (self.namespace.encode(), self.reserved, self.hash_name.encode())
        content = (
            _MAGIC + _VERSION.to_bytes(4, "big") + framed(self.public_key, *names, self.signature)
        )
        spelling = base64.b64encode(content).decode()
        lines = [spelling[i : i + _LINE_LENGTH] for i in range(0, len(spelling), _LINE_LENGTH)]
        return "\n".join([_BEGIN, *lines, _END, ""])

    @property
    def key_type(self) -> str:
        """The type of the key, such as ``ssh-ed25519``."""
        return key_type(self.public_key)

    @property
    def fingerprint(self) -> str:
        """The name of the key, as ``ssh-keygen -l`` prints it."""
        return fingerprint(self.public_key)

    def signed_bytes(self, payload: bytes) -> bytes:
        """Return what the key signs for a payload: its digest, and what it is for."""
        return signed_bytes(payload, self.namespace, self.hash_name, self.reserved)


def signed_bytes(
    payload: bytes, namespace: str, hash_name: str = "sha512", reserved: bytes = b""
) -> bytes:
    """Return what a key signs for a payload in a namespace."""
    digest = _HASHES[hash_name](payload).digest()
    return _MAGIC + framed(namespace.encode(), reserved, hash_name.encode(), digest)


def fingerprint(public_key: bytes) -> str:
    """Return the name of a public key in wire form, such as ``SHA256:uNiVztksCsDhcc0u9e8B…``."""
    digest = hashlib.sha256(public_key).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
