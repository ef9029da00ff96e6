"""Options of the service behind a bucket: which of them are secret, and where these are kept."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tensorvcs.errors import InvalidInputError, StorageError, with_hint

if TYPE_CHECKING:
    from collections.abc import Mapping

IN_FILE = "file:"
"""Starts the value of an option that is in a file: its path comes behind."""

# Names of the services for keys, tokens and the like. An id of a key, or the path of a file with
# a token, is none.
_SECRET_NAME = re.compile(r"(key|token|secret|password|base64)$", re.IGNORECASE)
_WITH_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@")
_MOST_NBYTES = 64 << 10


def is_secret(name: str, value: str) -> bool:
    """Tell whether the value of an option must not be kept or shown."""
    if value.startswith(IN_FILE):
        return False
    return bool(_SECRET_NAME.search(name) or _WITH_PASSWORD.match(value))


def kept_options(options: Mapping[str, str]) -> dict[str, str]:
    """Return options as the settings keep them: paths of files with secrets are made absolute.

    Raises
    ------
    InvalidInputError
        A secret is among them.
    """
    kept = {}
    for name, value in options.items():
        if is_secret(name, value):
            raise with_hint(
                InvalidInputError(
                    f"option {name!r} is a secret, and the settings would keep it in the clear"
                ),
                "leave it where the service looks for it, such as AWS_SECRET_ACCESS_KEY, or name "
                f"a file that holds it: --option {name}={IN_FILE}PATH",
            )
        if value.startswith(IN_FILE):
            path = Path(value.removeprefix(IN_FILE)).expanduser()
            value = f"{IN_FILE}{os.path.abspath(path)}"  # noqa: PTH100 (absolute() keeps "..")
        kept[name] = value
    return kept


def used_options(options: Mapping[str, str]) -> dict[str, str]:
    """Return options with what the files that they name hold.

    Raises
    ------
    StorageError
        Such a file cannot be read.
    """
    return {
        name: _content(name, value) if value.startswith(IN_FILE) else value
        for name, value in options.items()
    }


def _content(name: str, value: str) -> str:
    path = Path(value.removeprefix(IN_FILE)).expanduser()
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MOST_NBYTES).strip()
    except (OSError, ValueError) as error:
        raise StorageError(f"option {name!r} cannot be read from {path}: {error}") from error
