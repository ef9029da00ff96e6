"""Where the keys are: the settings ``signing.key`` and ``signing.allowed-signers``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tensorvcs import SshSigner
from tensorvcs.errors import InvalidInputError, with_hint
from tensorvcs.signing.allowed_signers import AllowedSigners

if TYPE_CHECKING:
    from tensorvcs import Repository

    from .context import Caller
    from .output import Output

KEY = "signing.key"
ALLOWED_SIGNERS = "signing.allowed-signers"


def open_signer(caller: Caller, out: Output, repo: Repository, key: str | None) -> SshSigner:
    """Return the signer of a key file, or of the configured one; ask for its passphrase.

    Raises
    ------
    InvalidInputError
        No key is named, or it cannot sign.
    """
    path = _setting(caller, repo, KEY) if key is None else Path(key)
    if path is None:
        raise with_hint(
            InvalidInputError("no key to sign with is named"),
            f"--key FILE, or once for all: tvcs config --global {KEY} ~/.ssh/id_ed25519",
        )
    return SshSigner.open(path, lambda: out.ask_secret(f"Passphrase of {path}"))


def allowed_signers(caller: Caller, repo: Repository, file: str | None) -> AllowedSigners | None:
    """Return the allowed signers of a file, or of the configured one; None without either."""
    path = _setting(caller, repo, ALLOWED_SIGNERS) if file is None else Path(file)
    return None if path is None else AllowedSigners.read(path)


def _setting(caller: Caller, repo: Repository, name: str) -> Path | None:
    """Return the path a setting names; a relative one begins at the folder of the repository."""
    text = {**caller.user_settings(), **repo.config}.get(name)
    return repo.path / Path(text).expanduser() if text else None
