"""The allowed-signers file of ssh-keygen: which keys stand for which mail addresses."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tensorvcs.errors import InvalidInputError, NotFoundError, StorageError, with_hint
from tensorvcs.signing.ssh_wire import key_type

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

_WORD = re.compile(r'"([^"]*)"[ \t]*|([^ \t"][^ \t]*)[ \t]*')
_KEY = re.compile(r"([a-z0-9@.-]+)[ \t]+([A-Za-z0-9+/]+=*)(?=[ \t]|$)")
_OPTIONS = re.compile(r'((?:"(?:\\"|[^"])*"|\\"|[^" \t])+)[ \t]+')
_OPTION = re.compile(r'([A-Za-z-]+)(?:="((?:\\"|[^"])*)")?(,(?=.)|$)')
_TIMES = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


@dataclass(frozen=True, slots=True)
class AllowedSigner:
    """One line: a key, whom it stands for, what for and when.

    Parameters
    ----------
    principals : str
        Patterns behind commas, with ``*``, ``?``, and ``!`` before those that are left out.
    public_key : bytes
        In wire form.
    namespaces : str, optional
        Patterns of what the key may sign; everything when None.
    valid_after, valid_before : int, optional
        Seconds since 1970 between which the key may have signed, both included.
    line : int
        Where it stands, from 1.
    """

    principals: str
    public_key: bytes
    namespaces: str | None = None
    valid_after: int | None = None
    valid_before: int | None = None
    line: int = 0

    def refusal(self, principal: str, namespace: str, seconds: int) -> str | None:
        """Return why the key does not stand for a principal at a time; None when it does."""
        if not matches(principal, self.principals):
            return f"line {self.line} has the key for {self.principals}, not for {principal}"
        if self.namespaces is not None and not matches(namespace, self.namespaces):
            return f"line {self.line} has the key for {self.namespaces}, not for {namespace}"
        if self.valid_after is not None and seconds < self.valid_after:
            return f"line {self.line} has the key only from {_date(self.valid_after)} on"
        if self.valid_before is not None and seconds > self.valid_before:
            return f"line {self.line} has the key only until {_date(self.valid_before)}"
        return None


class AllowedSigners:
    """Who may sign, from a file that ``ssh-keygen -Y verify`` and git read as well.

    References
    ----------
    ALLOWED SIGNERS in ssh-keygen(1). Lines with ``cert-authority`` are refused.
    """

    def __init__(self, signers: Sequence[AllowedSigner], source: str = "") -> None:
        self.signers = tuple(signers)
        self.source = source

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> AllowedSigners:
        """Read a file; a leading ``~`` is the home folder.

        Raises
        ------
        NotFoundError
            There is no such file.
        InvalidInputError
            A line cannot be read; the error names it.
        StorageError
            The file cannot be read.
        """
        file = Path(path).expanduser()
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise with_hint(
                NotFoundError(f"there is no allowed-signers file {str(file)!r}"),
                'make one with lines such as: ada@example.org namespaces="tensorvcs" '
                "ssh-ed25519 AAAA…",
            ) from error
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"{file} is no text: {error}") from error
        except OSError as error:
            raise StorageError(f"{file} cannot be read: {error.strerror}") from error
        return cls.parse(text, str(file))

    @classmethod
    def parse(cls, text: str, source: str = "allowed signers") -> AllowedSigners:
        """Read the lines of a file; raise InvalidInputError that names a line which is none."""
        signers = []
        for number, line in enumerate(text.split("\n"), 1):
            bare = line.strip(" \t\r")
            if bare and not bare.startswith("#"):
                try:
                    signers.append(_signer(bare, number))
                except InvalidInputError as error:
                    error.problem = f"{source}, line {number}: {error.problem}"
                    raise
        return cls(signers, source)

    def refusal(
        self, public_key: bytes, principal: str, namespace: str, seconds: int
    ) -> str | None:
        """Return why a key does not stand for a principal; None when a line says it does.

        Parameters
        ----------
        public_key : bytes
            In wire form.
        principal : str
            A mail address.
        namespace : str
            What was signed for.
        seconds : int
            When, in seconds since 1970.
        """
        reasons = []
        for signer in self.signers:
            if signer.public_key == public_key:
                reason = signer.refusal(principal, namespace, seconds)
                if reason is None:
                    return None
                reasons.append(reason)
        if not reasons:
            return f"no line of {self.source} has the key"
        return f"{self.source}: {'; '.join(reasons)}"

    def __len__(self) -> int:
        return len(self.signers)

    def __repr__(self) -> str:
        return f"<AllowedSigners {self.source}: {len(self)} keys>"


def matches(text: str, patterns: str) -> bool:
    """Tell whether a text fits patterns behind commas, and none of those with ``!`` before."""
    found = False
    for pattern in patterns.split(","):
        is_negated = pattern.startswith("!")
        # Of shells only * and ? are patterns here.
        plain = pattern.removeprefix("!").replace("[", "[[]")
        if re.match(fnmatch.translate(plain), text):
            if is_negated:
                return False
            found = True
    return found


def _signer(line: str, number: int) -> AllowedSigner:
    word = _WORD.match(line)
    if word is None:
        raise InvalidInputError(f"a quotation mark is missing: {line[:60]!r}")
    principals = word[1] if word[1] is not None else word[2]
    rest = line[word.end() :]
    options: dict[str, str] = {}
    key = _read_key(rest)
    if key is None:
        found = _OPTIONS.match(rest)
        key = None if found is None else _read_key(rest[found.end() :])
        if found is None or key is None:
            raise with_hint(
                InvalidInputError(f"no public key behind {principals!r}: {rest[:60]!r}"),
                "a line is: MAIL [OPTIONS] ssh-ed25519 AAAA…",
            )
        options = _read_options(found[1])
    after, before = (_read_time(options, name) for name in ("valid-after", "valid-before"))
    if after is not None and before is not None and after >= before:
        raise InvalidInputError("valid-before is not later than valid-after")
    return AllowedSigner(principals, key, options.get("namespaces"), after, before, number)


def _read_key(text: str) -> bytes | None:
    """Return the key that a text begins with, in wire form; None when it begins otherwise."""
    match = _KEY.match(text)
    if match is None:
        return None
    try:
        public_key = base64.b64decode(match[2], validate=True)
        return public_key if key_type(public_key) == match[1] else None
    except (binascii.Error, InvalidInputError):
        return None


def _read_options(text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    place = 0
    while place < len(text):
        match = _OPTION.match(text, place)
        if match is None:
            raise InvalidInputError(f"options cannot be read from {text[place:][:60]!r} on")
        name, value = match[1].lower(), match[2]
        if name == "cert-authority":
            raise with_hint(
                InvalidInputError("keys of a cert-authority are not supported"),
                "name the key of each signer in a line of its own",
            )
        if name not in ("namespaces", "valid-after", "valid-before"):
            raise InvalidInputError(f"there is no option {match[1]!r}")
        if value is None:
            raise InvalidInputError(f'the option {name} needs a value: {name}="…"')
        if name in options:
            raise InvalidInputError(f"the option {name} is given twice")
        options[name] = value.replace('\\"', '"')
        place = match.end()
    return options


def _read_time(options: dict[str, str], name: str) -> int | None:
    """Return a time in seconds since 1970; without a Z at its end it is local time."""
    if name not in options:
        return None
    text = options[name]
    digits = re.sub(r"(Z|UTC)$", "", text, count=1, flags=re.IGNORECASE)
    try:
        moment = dt.datetime.strptime(digits, _TIMES.get(len(digits), ""))
        if digits != text:
            moment = moment.replace(tzinfo=dt.UTC)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError, OSError):
        seconds = 0
    if seconds <= 0 or not digits.isdigit():
        raise InvalidInputError(
            f"{name}={text!r} is no time; write YYYYMMDD or YYYYMMDDHHMMSS, with Z for UTC"
        )
    return seconds


def _date(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
