"""Names of branches and tags: what is legal, where they are kept, what they point at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.errors import ObjectDamagedError, RefNameError
from tensorvcs.objects.commit import TagObject
from tensorvcs.objects.digest import DIGEST_NBYTES, CommitDigest, TagDigest

if TYPE_CHECKING:
    from tensorvcs.storage.interfaces import ObjectStore, RefStore

HEAD = "HEAD"
STAGING = "staging"
MERGE = "merge"
STASHES = "stash/"
RUNS = "runs/"
BRANCHES = "refs/heads/"
TAGS = "refs/tags/"
REMOTE_BRANCHES = "refs/remotes/"
MAX_NAME_NBYTES = 200


def check_ref_name(name: object, what: str = "branch") -> str:
    """Return `name` when it may name a branch, tag or remote, else raise RefNameError.

    References
    ----------
    The rules of ``git check-ref-format --branch``; beside them, a name may not start with
    ``refs/`` and has at most 200 bytes.
    """
    if not isinstance(name, str):
        raise RefNameError(f"a {what} name is a str, not {type(name).__name__}")
    problem = _problem_of(name)
    if problem:
        raise RefNameError(f"{what} name {name[:80]!r} is not legal: {problem}")
    return name


def _problem_of(name: str) -> str | None:
    if not name:
        return "it is empty"
    if any("\ud800" <= c <= "\udfff" for c in name):
        return "it has an unpaired surrogate"
    if len(name.encode()) > MAX_NAME_NBYTES:
        return f"it has {len(name.encode())} bytes; at most {MAX_NAME_NBYTES} are allowed"
    for character in name:
        if character in " ~^:?*[\\" or ord(character) < 32 or ord(character) == 127:
            return f"it has {character!r}"
    for part in ("..", "@{", "//"):
        if part in name:
            return f"it has {part!r}"
    if name.startswith("-"):
        return "it starts with '-'"
    if name.startswith("refs/"):
        return "it starts with 'refs/'"
    if name in ("@", HEAD, STAGING):
        return "that name is reserved"
    if name.startswith("/") or name.endswith(("/", ".")):
        return "it starts or ends with '/', or ends with '.'"
    for component in name.split("/"):
        if component.startswith(".") or component.endswith(".lock"):
            return f"its part {component!r} starts with '.' or ends with '.lock'"
    return None


def encode_commit_ref(digest: CommitDigest) -> bytes:
    """Return the value of a ref that points at a commit."""
    return b"commit " + digest.hex().encode()


def encode_tag_ref(digest: TagDigest) -> bytes:
    """Return the value of a ref that points at an annotated tag."""
    return b"tag " + digest.hex().encode()


def encode_symbolic_ref(name: str) -> bytes:
    """Return the value of a ref that names another ref."""
    return b"ref " + name.encode()


def ref_digest(value: bytes) -> bytes:
    """Return the digest in the value of a branch or tag; empty bytes when it has none."""
    kind, _, rest = value.partition(b" ")
    try:
        digest = bytes.fromhex(rest.decode())
    except ValueError:
        return b""
    return digest if kind in (b"commit", b"tag") and len(digest) == DIGEST_NBYTES else b""


def decode_ref(objects: ObjectStore, name: str, value: bytes) -> CommitDigest:
    """Return the commit that the value of a branch or tag points at."""
    digest = ref_digest(value)
    if digest and value.startswith(b"tag "):
        return TagObject.decode(objects.get([digest])[0]).commit
    if digest:
        return CommitDigest(digest)
    raise ObjectDamagedError(f"ref {name} has a value that is no commit: {value[:80]!r}")


def read_annotation(objects: ObjectStore, value: bytes) -> TagObject | None:
    """Return the tag object of an annotated tag's ref value, or None for a plain one."""
    if not value.startswith(b"tag "):
        return None
    digest = ref_digest(value)
    if not digest:
        raise ObjectDamagedError(f"a tag has a value that names no tag object: {value[:80]!r}")
    return TagObject.decode(objects.get([digest])[0])


def current_branch(refs: RefStore) -> str:
    """Return the name of the branch that HEAD is on."""
    value = refs.get(HEAD) or b""
    if not value.startswith(b"ref " + BRANCHES.encode()):
        raise ObjectDamagedError(f"HEAD has a value that names no branch: {value[:80]!r}")
    try:
        return value[len(b"ref ") + len(BRANCHES) :].decode()
    except UnicodeDecodeError as error:
        raise ObjectDamagedError(f"HEAD names a branch that is no text: {value[:80]!r}") from error


def branch_commit(objects: ObjectStore, refs: RefStore, branch: str) -> CommitDigest | None:
    """Return the commit of a branch, or None when it has none yet."""
    value = refs.get(BRANCHES + branch)
    return None if value is None else decode_ref(objects, BRANCHES + branch, value)
