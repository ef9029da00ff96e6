"""Canonical bytes of small objects: a kind, a version and JSON fields; one value, one encoding."""

from __future__ import annotations

import json
import re
from typing import Any

from tensorvcs.errors import ObjectDamagedError, UnsupportedFormatError

_NUMBER = re.compile(rb"[1-9][0-9]{0,8}")


def encode_object(kind: str, version: int, fields: dict[str, Any]) -> bytes:
    """Return ``kind version`` on a line, then JSON with sorted names and no spaces, in UTF-8.

    The fields hold None, booleans, integers, text, lists and dicts with text names; no floats,
    so that one value has one spelling.
    """
    text = json.dumps(
        fields, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    return f"{kind} {version}\n{text}".encode()


def decode_object(content: bytes, kind: str, version: int) -> dict[str, Any]:
    """Read what `encode_object` wrote, of one kind and version.

    Raises
    ------
    ObjectDamagedError
        The bytes are of another kind, are no JSON, or are not the canonical spelling.
    UnsupportedFormatError
        The version is newer than `version`.
    """
    line, _, text = bytes(content).partition(b"\n")
    found_kind, _, found_version = line.partition(b" ")
    if found_kind != kind.encode():
        raise ObjectDamagedError(f"expected an object of kind {kind!r}, found {line[:40]!r}")
    if found_version != str(version).encode():
        if _NUMBER.fullmatch(found_version) and int(found_version) > version:
            raise UnsupportedFormatError(
                f"a {kind} object has version {int(found_version)}; "
                f"this TensorVCS reads up to {version}"
            )
        raise ObjectDamagedError(f"a {kind} object has the version {found_version[:20]!r}")
    try:
        fields = json.loads(text, parse_float=_refuse_float, parse_constant=_refuse_float)
        # Texts with an unpaired surrogate, and numbers of many digits, have no spelling either.
        canonical = encode_object(kind, version, fields)
    except (ValueError, RecursionError) as error:
        raise ObjectDamagedError(f"a {kind} object is no JSON: {error}") from error
    if not isinstance(fields, dict) or canonical != content:
        raise ObjectDamagedError(f"a {kind} object is not in its canonical spelling")
    return fields


def _refuse_float(spelling: str) -> None:
    raise ValueError(f"{spelling[:40]} is no integer")
