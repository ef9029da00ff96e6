"""Tokens: who may do what in which repositories. The file has their digests, never a token."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tensorvcs.errors import (
    AlreadyExistsError,
    InvalidInputError,
    NotFoundError,
    StorageError,
    with_hint,
)
from tensorvcs.storage.durable import alone_in, new_file, refusal
from tensorvcs.sync.service import Right, Visitor

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

RIGHTS: tuple[Right, ...] = get_args(Right)
_SECRET_NBYTES = 32
_MAX_FILE_NBYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Token:
    """A token as its file has it.

    Attributes
    ----------
    name : str
        Of who has it: what the operation log and the log of requests say.
    digest : str
        SHA-256 of the token, in hexadecimal. A token has 256 random bits, so that this needs no
        salt and no slow hash.
    rights : tuple of (str, Right)
        A right for each pattern of repository names, such as ``("pets", "write")``.
    expires : datetime, optional
        From when it is good no more.
    """

    name: str
    digest: str = field(repr=False)
    rights: tuple[tuple[str, Right], ...]
    expires: dt.datetime | None = None

    def right_in(self, repository: str) -> Right | None:
        """Return the highest right in a repository, or None."""
        found = [right for pattern, right in self.rights if fnmatchcase(repository, pattern)]
        return max(found, key=RIGHTS.index, default=None)

    def visitor_in(self, repository: str) -> Visitor | None:
        """Return who comes to a repository with this token; None when it gives no right there."""
        right = self.right_in(repository)
        return None if right is None else Visitor(self.name, right)

    def to_fields(self) -> dict[str, Any]:
        """Return the token as its file has it."""
        expires = {} if self.expires is None else {"expires": self.expires.isoformat()}
        rights = dict(self.rights)
        return {"name": self.name, "sha256": self.digest, "rights": rights, **expires}

    @classmethod
    def from_fields(cls, fields: Any) -> Token:
        """Read what `to_fields` wrote; raise ValueError when it is something else."""
        if not isinstance(fields, dict) or set(fields) - {"name", "sha256", "rights", "expires"}:
            raise ValueError(f"a token has the fields {sorted(map(str, fields))}")
        name, digest, rights = fields["name"], fields["sha256"], fields["rights"]
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ValueError(f"a token has the name {name!r}")
        if not isinstance(digest, str) or len(bytes.fromhex(digest)) != 32:
            raise ValueError(f"token {name!r} has no SHA-256 of 64 hexadecimal digits")
        if not isinstance(rights, dict) or set(rights.values()) - set(RIGHTS):
            raise ValueError(f"token {name!r} has rights other than {', '.join(RIGHTS)}")
        expires = fields.get("expires")
        moment = None if expires is None else dt.datetime.fromisoformat(expires)
        if moment is not None and moment.tzinfo is None:
            raise ValueError(f"token {name!r} expires at {expires}, a time without a time zone")
        return cls(name, digest.lower(), tuple(rights.items()), moment)


class TokenFile:
    """A file of tokens; read again when it has changed.

    Parameters
    ----------
    path : path
    now : callable, optional
        The clock, for tests.

    Raises
    ------
    InvalidInputError
        It is no file of tokens.
    StorageError
        It cannot be read.
    """

    def __init__(
        self, path: str | os.PathLike[str], now: Callable[[], dt.datetime] | None = None
    ) -> None:
        self._path = Path(path)
        self._now = now or _utc_now
        self._seen: tuple[int, ...] = ()
        self._tokens: tuple[Token, ...] = ()

    def tokens(self) -> tuple[Token, ...]:
        """Return the tokens as the file has them now."""
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen != self._seen:
                if found.st_size > _MAX_FILE_NBYTES:
                    raise InvalidInputError(f"{self._path} has {found.st_size} bytes")
                self._tokens = _decode(self._path, self._path.read_bytes())
                self._seen = seen
        except OSError as error:
            raise with_hint(
                StorageError(f"the tokens in {self._path} cannot be read: {error.strerror}"),
                f"make the first one with 'tvcs token add {self._path} NAME'",
            ) from error
        return self._tokens

    def find(self, secret: str) -> Token | None:
        """Return the token that somebody shows, when it is known and has not expired.

        Notes
        -----
        Compares with every token, in a time that tells nothing of which is alike.
        """
        shown = digest_of_secret(secret).encode()
        known = None
        for token in self.tokens():
            if hmac.compare_digest(shown, token.digest.encode()):
                known = token
        if known is None or (known.expires is not None and known.expires <= self._now()):
            return None
        return known

    def add(
        self,
        name: str,
        rights: Sequence[tuple[str, Right]],
        expires: dt.datetime | None = None,
    ) -> str:
        """Make a token, keep its digest, and return it: nobody can tell it again.

        Raises
        ------
        AlreadyExistsError
            There is a token of that name.
        InvalidInputError
            The name is empty, or expires is no time with a zone, or a right is none.
        """
        secret = secrets.token_urlsafe(_SECRET_NBYTES)
        token = Token(name, digest_of_secret(secret), tuple(rights), expires)
        try:
            Token.from_fields(token.to_fields())
        except ValueError as error:
            raise InvalidInputError(str(error)) from error
        with self._alone():
            tokens = self.tokens() if self._path.exists() else ()
            if any(known.name == name for known in tokens):
                raise with_hint(
                    AlreadyExistsError(f"{self._path} has a token {name!r} already"),
                    "choose another name, or revoke that one with 'tvcs token revoke'",
                )
            self._write((*tokens, token))
        return secret

    def revoke(self, name: str) -> Token:
        """Forget a token; raise NotFoundError when there is none of that name."""
        if not self._path.exists():
            self.tokens()  # which says how to make one
        with self._alone():
            tokens = self.tokens()
            for token in tokens:
                if token.name == name:
                    self._write([other for other in tokens if other is not token])
                    return token
        known = ", ".join(token.name for token in tokens) or "none"
        raise NotFoundError(f"{self._path} has no token {name!r}; there are: {known}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others out who change a file in the same folder; makes the folder."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refusal(f"cannot write {self._path}", error) from error
        with alone_in(self._path.parent):
            self._seen = ()  # what another one has written at the same moment is read anew
            yield

    def _write(self, tokens: Sequence[Token]) -> None:
        """Replace the file in one step; only its owner may read it."""
        fields = {"tokens": [token.to_fields() for token in tokens]}
        text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
        with new_file(self._path, mode=0o600) as write:
            write(text.encode())


def digest_of_secret(secret: str) -> str:
    """Return what is kept of a token: its SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _decode(path: Path, content: bytes) -> tuple[Token, ...]:
    try:
        fields = json.loads(content)
        tokens = tuple(Token.from_fields(token) for token in fields["tokens"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise with_hint(
            InvalidInputError(f"{path} is no file of tokens: {error}"),
            "make one with 'tvcs token add'",
        ) from error
    names = [token.name for token in tokens]
    if len(set(names)) < len(names):
        raise InvalidInputError(f"{path} has two tokens of one name")
    return tokens


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
