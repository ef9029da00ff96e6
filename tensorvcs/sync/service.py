"""The service: what a repository answers to those who come over a network or a pipe.

Knows methods and rights, and nothing of how questions arrive. What comes is not trusted: objects
are decoded and checked before they are kept, a ref moves only to a history that is whole, and
only branches and tags are shown and changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from tensorvcs.errors import (
    AccessDeniedError,
    BranchInUseError,
    InvalidInputError,
    NonFastForwardError,
    ObjectNotFoundError,
    RefChangedError,
    RefNameError,
    RemoteError,
    with_hint,
)
from tensorvcs.history.ancestry import is_ancestor
from tensorvcs.history.commit import change_refs
from tensorvcs.history.refs import (
    BRANCHES,
    HEAD,
    TAGS,
    check_ref_name,
    decode_ref,
    encode_symbolic_ref,
    ref_digest,
)
from tensorvcs.objects.digest import CommitDigest, digest_of, digests_to_array
from tensorvcs.sync import wire
from tensorvcs.sync.arrivals import named_by
from tensorvcs.sync.connectivity import check_connected
from tensorvcs.sync.upload_lease import UploadLease
from tensorvcs.sync.wire import Content, Frame
from tensorvcs.tree.nodes import Nodes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.objects.commit import Timestamp
    from tensorvcs.storage.interfaces import RefChange, Stores, TensorStore

Right = Literal["read", "write", "admin"]
"""What somebody may do; each has those before it. `admin` is to let commits be lost."""

_RIGHTS: tuple[Right, ...] = get_args(Right)
_GET_OBJECTS = 512
_REFS_A_FRAME = 1000
_MAX_CHANGES = 1000
_MIN_PREFIX_DIGITS = 4
_MAX_FOUND = 100


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks.

    Attributes
    ----------
    name : str
        As the operation log will have it.
    right : {"read", "write", "admin"}
    """

    name: str
    right: Right

    def has(self, right: Right) -> bool:
        """Tell whether the visitor has a right, or one that includes it."""
        return _RIGHTS.index(self.right) >= _RIGHTS.index(right)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a service takes at most.

    Attributes
    ----------
    max_frame_nbytes : int
        Of one frame, and so of one value.
    max_request_nbytes : int
        Of all frames of a request.
    """

    max_frame_nbytes: int = 1 << 30
    max_request_nbytes: int = 4 << 30


@dataclass(frozen=True, slots=True)
class Policy:
    """Which branches may lose commits.

    Attributes
    ----------
    rewritable : tuple of str
        Patterns of names, such as ``wip/*``, of branches that whoever may write may also move
        back and delete. Of the others, and of tags, only those with the right `admin`.
    """

    rewritable: tuple[str, ...] = ()

    def lets_rewrite(self, name: str) -> bool:
        """Tell whether the ref of this full name may lose commits by whoever may write."""
        short = name.removeprefix(BRANCHES)
        return short != name and any(fnmatchcase(short, pattern) for pattern in self.rewritable)


@dataclass(slots=True)
class Service:
    """Answers for one repository; threads may share it.

    Parameters
    ----------
    stores : Stores
    open_writer : callable
        Return a tensor store of its own for one upload, over the same values.
    now : callable
        The clock of the operation log.
    limits : Limits
    policy : Policy
    """

    stores: Stores
    open_writer: Callable[[], TensorStore]
    now: Callable[[], Timestamp]
    limits: Limits = field(default_factory=Limits)
    policy: Policy = field(default_factory=Policy)
    _nodes: Nodes = field(init=False)
    _upload: UploadLease = field(init=False)

    def __post_init__(self) -> None:
        self._nodes = Nodes(self.stores.objects)
        self._upload = UploadLease(self.stores.lease)

    def answer(self, method: str, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        """Yield the contents of the frames of an answer.

        Parameters
        ----------
        method : str
            One of `METHODS`.
        frames : iterator of bytes
            The contents of the request; they are read as they are needed, and not all of them
            when the request is refused.
        visitor : Visitor

        Raises
        ------
        RemoteError
            There is no such method, or the request is none of it.
        AccessDeniedError
            The visitor has not the right.
        TensorVCSError
            What the method raises.

        Notes
        -----
        Memory is that of one frame of the request and one of the answer, or of a seal of values.
        """
        if method not in METHODS:
            raise RemoteError(f"there is no method {method[:40]!r}")
        if not visitor.has(right_of(method)):
            raise access_denied(visitor, right_of(method))
        if method in UPLOAD_METHODS and visitor.has("write"):
            # Who may write asks what is here to leave it out of what is sent.
            self._upload.prolong()
        yield from METHODS[method](self, frames, visitor)

    def max_frame_nbytes(self, method: str) -> int:
        """Return how large a frame of a request may be."""
        is_large = method in ("objects/put", "values/take")
        return self.limits.max_frame_nbytes if is_large else wire.FRAME_NBYTES

    # Reading

    def _hello(self, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        limits = self.limits
        yield wire.Greeting(
            wire.PROTOCOL_VERSION, limits.max_frame_nbytes, limits.max_request_nbytes
        ).encode()

    def _refs(self, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        try:
            prefix = _one(frames).decode()
        except UnicodeDecodeError as error:
            raise RefNameError("the start of the names of refs is no text") from error
        found: list[tuple[str, bytes]] = []
        head = self.stores.refs.get(HEAD)
        if head is not None and HEAD.startswith(prefix):
            found.append((HEAD, head))
        for shown in (BRANCHES, TAGS):
            if shown.startswith(prefix) or prefix.startswith(shown):
                longer = max(shown, prefix, key=len)
                found += self.stores.refs.items(longer).items()
        for low in range(0, len(found), _REFS_A_FRAME):
            yield wire.encode_refs(found[low : low + _REFS_A_FRAME])

    def _get(self, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        digests = _digests(frames)
        batches = range(0, len(digests), _GET_OBJECTS)
        objects = self.stores.objects
        yield from wire.encode_objects(
            content for low in batches for content in objects.get(digests[low : low + _GET_OBJECTS])
        )

    def _missing(self, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        yield from wire.encode_digests(self.stores.objects.missing(_digests(frames)))

    def _find(self, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        prefix = _one(frames).decode("latin-1")
        if not _MIN_PREFIX_DIGITS <= len(prefix) <= 64 or set(prefix) - set("0123456789abcdef"):
            raise InvalidInputError(
                f"{prefix[:80]!r} is no start of an id; expected 4 to 64 hexadecimal digits"
            )
        yield from wire.encode_digests(self.stores.objects.find(prefix, _MAX_FOUND))

    def _contains(self, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        yield self.stores.tensors.contains(_digest_array(frames)).astype(np.uint8).tobytes()

    def _sizes(self, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        yield self.stores.tensors.sizes(_digest_array(frames)).astype("<i8").tobytes()

    def _stored(self, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        for values in self.stores.tensors.stored(_digest_array(frames)):
            yield wire.value_parts(values)

    # Writing

    def _put(self, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        for content in frames:
            objects = wire.decode_objects(content)
            named: set[bytes] = set()
            here: set[bytes] = set()
            for one in objects:
                named |= named_by(one, self._nodes.boundary) - here
                here.add(digest_of(one))
            with self.stores.transaction():
                absent = self.stores.objects.missing(sorted(named))
                if absent:
                    raise ObjectNotFoundError(
                        f"object {absent[0].hex()} is named by one that was sent, and was not "
                        "sent before it"
                    )
                self.stores.objects.put(objects)
        yield from ()

    def _take(self, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        writer = self.open_writer()
        try:
            for content in frames:
                values = wire.decode_values(content)
                writer.take(wire.check_decoded(values, self.limits.max_frame_nbytes))
        finally:
            # What came whole is kept, even when the line was cut: it need not come again.
            writer.seal()
        yield from ()

    def _swap(self, frames: Iterator[Frame], visitor: Visitor) -> Iterator[Content]:
        changes = wire.decode_swap(_one(frames))
        names = [change.name for change in changes]
        if not 0 < len(changes) <= _MAX_CHANGES or len(set(names)) < len(names):
            raise RemoteError(f"{len(changes)} changes of {len(set(names))} refs are asked for")
        for change in changes:
            _check_change(change)
            if self.stores.refs.get(change.name) != change.before:
                raise RefChangedError(f"ref {change.name} was changed by somebody else")
        wanted = [self._commit_of(c.name, c.after) for c in changes if c.after is not None]
        check_connected(self._nodes, self.stores.tensors, wanted, self._known_commits())
        for change in changes:
            self._check_loss(change, visitor)
        change_refs(
            self.stores,
            changes,
            command="push",
            description=", ".join(name.split("/", 2)[2] for name in names)[:200],
            user=visitor.name,
            now=self.now(),
        )
        yield from ()

    def _known_commits(self) -> list[CommitDigest]:
        refs = self.stores.refs
        return [
            self._commit_of(name, value)
            for prefix in (BRANCHES, TAGS)
            for name, value in refs.items(prefix).items()
        ]

    def _commit_of(self, name: str, value: bytes) -> CommitDigest:
        return decode_ref(self.stores.objects, name, value)

    def _check_loss(self, change: RefChange, visitor: Visitor) -> None:
        """Raise when a change would lose commits, and the visitor may not have them lost."""
        if change.before is None:
            return
        is_branch = change.name.startswith(BRANCHES)
        if change.after is None:
            head = self.stores.refs.get(HEAD)
            if head == encode_symbolic_ref(change.name):
                short = change.name.removeprefix(BRANCHES)
                raise BranchInUseError(
                    f"branch {short!r} is the current one of the remote and stays"
                )
        elif is_branch:
            before, after = (CommitDigest(ref_digest(v)) for v in (change.before, change.after))
            if is_ancestor(self.stores.objects, before, after):
                return
        if not visitor.has("admin") and not self.policy.lets_rewrite(change.name):
            what = "branch" if is_branch else "tag"
            short = change.name.split("/", 2)[2]
            raise with_hint(
                NonFastForwardError(
                    f"{what} {short!r} of the remote would lose what it points at, which "
                    f"{visitor.name!r} may not do; nothing was moved"
                ),
                "push under another name, or ask for a token with the right admin",
            )


_Method = Callable[[Service, Iterator[Frame], Visitor], Iterator[Content]]
METHODS: dict[str, _Method] = {
    "hello": Service._hello,
    "refs": Service._refs,
    "swap": Service._swap,
    "objects/get": Service._get,
    "objects/missing": Service._missing,
    "objects/put": Service._put,
    "objects/find": Service._find,
    "values/contains": Service._contains,
    "values/sizes": Service._sizes,
    "values/stored": Service._stored,
    "values/take": Service._take,
}
"""The methods by name; `tensorvcs.sync.wire` says what each is."""

WRITE_METHODS = frozenset({"swap", "objects/put", "values/take"})
UPLOAD_METHODS = WRITE_METHODS | {"objects/missing", "values/contains"}
"""What an upload consists of; what it relies on is kept until it has ended."""


def right_of(method: str) -> Right:
    """Return the right that a method asks for."""
    return "write" if method in WRITE_METHODS else "read"


def access_denied(visitor: Visitor, right: Right) -> AccessDeniedError:
    """Return the error for a visitor without a right."""
    return with_hint(
        AccessDeniedError(f"{visitor.name!r} may {visitor.right} here, and not {right}"),
        f"ask for a token with the right {right}",
    )


def _one(frames: Iterator[Frame]) -> bytes:
    """Return the content of a request of one frame."""
    content = next(frames, None)
    if content is None:
        raise RemoteError("the request is empty")
    return bytes(content)


def _digests(frames: Iterator[Frame]) -> list[bytes]:
    """Return the digests of a request, all of them before the answer begins."""
    found: list[bytes] = []
    for content in frames:
        found += wire.decode_digests(content)
        if len(found) > wire.MAX_DIGESTS:
            raise RemoteError(f"more than {wire.MAX_DIGESTS} digests are asked about at once")
    return found


def _digest_array(frames: Iterator[Frame]) -> NDArray[np.uint8]:
    return digests_to_array(_digests(frames))


def _check_change(change: RefChange) -> None:
    """Raise unless a change is one of a branch or a tag, to what such a one may point at."""
    prefix = next((p for p in (BRANCHES, TAGS) if change.name.startswith(p)), None)
    if prefix is None:
        raise RefNameError(f"ref {change.name[:80]!r} is no branch and no tag; it stays as it is")
    check_ref_name(change.name.removeprefix(prefix), "branch" if prefix == BRANCHES else "tag")
    if change.before is None and change.after is None:
        raise RemoteError(f"ref {change.name} is to change from nothing to nothing")
    if change.after is not None:
        is_tag_object = change.after.startswith(b"tag ")
        digest = ref_digest(change.after)
        kind = b"tag " if is_tag_object else b"commit "
        if change.after != kind + digest.hex().encode() or (is_tag_object and prefix == BRANCHES):
            raise RemoteError(f"ref {change.name} is to point at {change.after[:80]!r}")
