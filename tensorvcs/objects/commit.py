"""Snapshot, commit and annotated tag: the objects that make a history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tensorvcs.errors import InvalidInputError, ObjectDamagedError, with_hint
from tensorvcs.objects.digest import (
    DIGEST_NBYTES,
    CommitDigest,
    SnapshotDigest,
    TagDigest,
    digest_of,
)
from tensorvcs.objects.encoding import decode_object, encode_object

MINUTES_A_DAY = 24 * 60
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
# A day inside of what a datetime can be, so that no time zone leaves it.
_FIRST_MICROSECOND = (dt.datetime(1, 1, 2, tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND
_LAST_MICROSECOND = (dt.datetime(9999, 12, 30, tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND

MAX_SIGNATURE_LENGTH = 16_384
"""Characters of the signature of a commit; one by an ed25519 key has about 300."""
MAX_METADATA_NAME_LENGTH = 100
"""Characters of the name of a pair in the metadata of a commit."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who did it: a name and a mail address."""

    name: str
    email: str

    def __post_init__(self) -> None:
        for what, text in (("name", self.name), ("email", self.email)):
            if not isinstance(text, str) or not text.strip():
                raise InvalidInputError(f"a user {what} cannot be empty")
            if any(c in text for c in "<>\n\r\0"):
                raise InvalidInputError(
                    f"user {what} {text!r} has '<', '>', a line break or NUL in it"
                )
            if not is_unicode(text):
                raise InvalidInputError(f"user {what} {text!r} has an unpaired surrogate")

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Read ``Name <mail>``; raise InvalidInputError when it is something else."""
        name, bracket, rest = text.partition("<")
        if not bracket or not rest.endswith(">"):
            raise InvalidInputError(f"{text!r} is not of the form 'Name <mail>'")
        return cls(name.strip(), rest[:-1].strip())

    @classmethod
    def of(cls, author: object) -> Identity | None:
        """Return what a caller named as an author: an Identity, a text to parse, or nobody."""
        if author is None or isinstance(author, cls):
            return author
        if isinstance(author, str):
            return cls.parse(author)
        raise InvalidInputError(
            f"an author is an Identity or a str, not {type(author).__name__}: {str(author)[:80]!r}"
        )


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An instant: microseconds since 1970-01-01 UTC, and the writer's offset in minutes."""

    microseconds: int
    offset_minutes: int = 0

    def __post_init__(self) -> None:
        if not (
            type(self.microseconds) is int
            and type(self.offset_minutes) is int
            and abs(self.offset_minutes) < MINUTES_A_DAY
            and _FIRST_MICROSECOND <= self.microseconds <= _LAST_MICROSECOND
        ):
            raise InvalidInputError(
                f"{self.microseconds!r} microseconds at an offset of {self.offset_minutes!r} "
                "minutes is no time between the years 1 and 9999"
            )

    @classmethod
    def of(cls, moment: dt.datetime) -> Timestamp:
        """Return the timestamp of an aware datetime."""
        offset = moment.utcoffset()
        if offset is None:
            raise InvalidInputError(f"{moment} has no time zone")
        return cls((moment - _EPOCH) // _MICROSECOND, int(offset.total_seconds() // 60))

    @property
    def moment(self) -> dt.datetime:
        """The instant as an aware datetime in the writer's time zone."""
        zone = dt.timezone(dt.timedelta(minutes=self.offset_minutes))
        return (_EPOCH + dt.timedelta(microseconds=self.microseconds)).astimezone(zone)


@dataclass(frozen=True, slots=True)
class ColumnEntry:
    """One column of a snapshot: its schema and its trees as JSON fields.

    The tree is kept as the fields that `tensorvcs.tree.tree.Tree.to_fields` writes, since
    objects know nothing of trees.
    """

    schema: Mapping[str, Any]
    tree: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The columns of one version, by name, in code point order of the names."""

    columns: Mapping[str, ColumnEntry] = field(default_factory=dict)

    def _fields(self) -> dict[str, Any]:
        columns = {
            name: {"schema": dict(entry.schema), "tree": dict(entry.tree)}
            for name, entry in self.columns.items()
        }
        return {"columns": columns}

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode_object("snapshot", 1, self._fields())

    @classmethod
    def decode(cls, content: bytes) -> Snapshot:
        """Read canonical bytes; raise ObjectDamagedError when they are not."""
        fields = decode_object(content, "snapshot", 1)
        try:
            snapshot = cls(
                {
                    name: ColumnEntry(column["schema"], column["tree"])
                    for name, column in sorted(fields["columns"].items())
                }
            )
            is_same = snapshot._fields() == fields
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ObjectDamagedError(f"a snapshot lacks the field {error}") from error
        if not is_same:
            raise ObjectDamagedError("a snapshot has fields that are not known")
        return snapshot

    @property
    def digest(self) -> SnapshotDigest:
        """The name of the snapshot."""
        return SnapshotDigest(digest_of(self.encode()))


EMPTY_SNAPSHOT = Snapshot()


@dataclass(frozen=True, slots=True)
class CommitObject:
    """A commit as it is stored.

    `generation` is 0 for a commit without parents and one more than the largest generation of
    the parents otherwise, so that ancestry walks know where to stop. `signature` is an armoured
    text over `payload`; an unsigned commit has no such field.
    """

    snapshot: SnapshotDigest
    parents: tuple[CommitDigest, ...]
    generation: int
    author: Identity
    author_time: Timestamp
    committer: Identity
    commit_time: Timestamp
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    signature: str | None = None

    def _fields(self) -> dict[str, Any]:
        signature = {} if self.signature is None else {"signature": self.signature}
        return {
            "snapshot": self.snapshot.hex(),
            "parents": [parent.hex() for parent in self.parents],
            "generation": self.generation,
            "author": _person(self.author, self.author_time),
            "committer": _person(self.committer, self.commit_time),
            "message": self.message,
            "metadata": dict(self.metadata),
            **signature,
        }

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode_object("commit", 1, self._fields())

    @property
    def payload(self) -> bytes:
        """What a signature is over: the canonical bytes of the commit without its signature."""
        return replace(self, signature=None).encode()

    @classmethod
    def decode(cls, content: bytes) -> CommitObject:
        """Read canonical bytes; raise ObjectDamagedError when they are not."""
        fields = decode_object(content, "commit", 1)
        try:
            author, author_time = _read_person(fields["author"])
            committer, commit_time = _read_person(fields["committer"])
            commit = cls(
                snapshot=SnapshotDigest(_read_digest(fields["snapshot"])),
                parents=tuple(CommitDigest(_read_digest(text)) for text in fields["parents"]),
                generation=_read_count(fields["generation"]),
                author=author,
                author_time=author_time,
                committer=committer,
                commit_time=commit_time,
                message=str(fields["message"]),
                metadata={str(k): str(v) for k, v in fields["metadata"].items()},
                signature=_read_signature(fields),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ObjectDamagedError(f"a commit cannot be read: {error}") from error
        if commit._fields() != fields:
            raise ObjectDamagedError("a commit has fields of another kind, or not known")
        return commit


@dataclass(frozen=True, slots=True)
class TagObject:
    """An annotated tag: a commit with a message, a tagger and a time."""

    commit: CommitDigest
    name: str
    tagger: Identity
    time: Timestamp
    message: str

    def _fields(self) -> dict[str, Any]:
        return {
            "commit": self.commit.hex(),
            "name": self.name,
            "tagger": _person(self.tagger, self.time),
            "message": self.message,
        }

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode_object("tag", 1, self._fields())

    @classmethod
    def decode(cls, content: bytes) -> TagObject:
        """Read canonical bytes; raise ObjectDamagedError when they are not."""
        fields = decode_object(content, "tag", 1)
        try:
            tagger, time = _read_person(fields["tagger"])
            tag = cls(
                CommitDigest(_read_digest(fields["commit"])),
                str(fields["name"]),
                tagger,
                time,
                str(fields["message"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ObjectDamagedError(f"a tag cannot be read: {error}") from error
        if tag._fields() != fields:
            raise ObjectDamagedError("a tag has fields of another kind, or not known")
        return tag

    @property
    def digest(self) -> TagDigest:
        """The name of the tag object."""
        return TagDigest(digest_of(self.encode()))


def check_metadata(metadata: object) -> dict[str, str]:
    """Return the metadata of a commit as a dict, or raise InvalidInputError when it is none.

    Any pairs of text are kept with a commit. A name is 1 to 100 printable characters without ``=``
    and without spaces at its ends, so that it can be typed as ``NAME=VALUE`` and found again. By
    convention:

    ``source``
        Where the samples come from: a camera, a site, a contributor (``uni-3``).
    ``script``
        What made the change, and in which version: ``clean.py@3f9a12c``.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidInputError(f"metadata is a mapping, not {type(metadata).__name__}")
    for name, text in metadata.items():
        for part in (name, text):
            if not isinstance(part, str) or not is_unicode(part):
                raise InvalidInputError(
                    f"metadata {str(name)[:80]!r} is no text, or has one of {type(text).__name__}, "
                    "or one with an unpaired surrogate; expected str to str"
                )
        _check_metadata_name(name)
    return {str(name): str(text) for name, text in metadata.items()}


def _check_metadata_name(name: str) -> None:
    if not name:
        problem = "is empty"
    elif len(name) > MAX_METADATA_NAME_LENGTH:
        problem = f"has {len(name)} characters, and at most {MAX_METADATA_NAME_LENGTH} are allowed"
    elif "=" in name or not name.isprintable() or name != name.strip():
        problem = "has '=', a control character, or a space at an end in it"
    else:
        return
    raise with_hint(
        InvalidInputError(f"the metadata name {name[:80]!r} {problem}"),
        "use a plain word, such as source or script",
    )


def is_unicode(text: str) -> bool:
    """Tell whether a text has a UTF-8 spelling: no unpaired surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _person(who: Identity, when: Timestamp) -> dict[str, Any]:
    return {
        "name": who.name,
        "email": who.email,
        "time": when.microseconds,
        "offset": when.offset_minutes,
    }


def _read_person(fields: Mapping[str, Any]) -> tuple[Identity, Timestamp]:
    return (
        Identity(fields["name"], fields["email"]),
        Timestamp(fields["time"], fields["offset"]),
    )


def _read_signature(fields: Mapping[str, Any]) -> str | None:
    if "signature" not in fields:
        return None
    text = fields["signature"]
    if not isinstance(text, str) or not 0 < len(text) <= MAX_SIGNATURE_LENGTH:
        raise ValueError(f"a signature of more than {MAX_SIGNATURE_LENGTH} characters, or no text")
    return text


def _read_count(number: object) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"{number!r} is no count")
    return number


def _read_digest(text: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != DIGEST_NBYTES or digest.hex() != text:
        raise ValueError(f"{text!r} is not a digest")
    return digest
