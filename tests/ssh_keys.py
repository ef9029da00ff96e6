"""Keys to sign with, made from a number, so that no key file is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def key_of(number: int) -> Any:
    """Return the ed25519 private key of a number; skip the test without ``cryptography``."""
    keys = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    return keys.Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def write_key(path: Path, number: int = 1, passphrase: str | None = None) -> Path:
    """Write the key of a number as OpenSSH does."""
    key = key_of(number)
    from cryptography.hazmat.primitives import serialization

    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        pytest.importorskip("bcrypt")
        how = serialization.BestAvailableEncryption(passphrase.encode())
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, how)
    )
    return path
