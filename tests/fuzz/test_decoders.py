"""Every decoder, given hostile bytes, reads them or raises an error of ours; nothing else."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings

from tensorvcs.checkout.areas import StagingRecord
from tensorvcs.checkout.stash import StashRecord
from tensorvcs.history.merging.merge_progress import decode_merge
from tensorvcs.history.operations import decode_operation
from tensorvcs.history.refs import current_branch, decode_ref, read_annotation, ref_digest
from tensorvcs.history.snapshot import decode_snapshot
from tensorvcs.objects.commit import CommitObject, Snapshot, TagObject
from tensorvcs.objects.digest import digest_of
from tensorvcs.objects.encoding import encode_object
from tensorvcs.objects.keys import Keys, text_array
from tensorvcs.server import tokens
from tensorvcs.signing.allowed_signers import AllowedSigners
from tensorvcs.storage.folder import Folder, check_format, find_folder, read_settings
from tensorvcs.storage.format_file import (
    FORMAT_COPY_FILE,
    FORMAT_FILE,
    Format,
    encode_format,
    format_problems,
    mend_format,
)
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.storage.memory import MemoryObjects, MemoryRefs
from tensorvcs.storage.pack_index import decode_loose, decode_pack_record
from tensorvcs.sync.arrivals import named_by
from tensorvcs.sync.bucket_stores import _decode_refs_file
from tensorvcs.sync.remotes import read_remotes
from tensorvcs.tree.boundary import DEFAULT_BOUNDARY
from tensorvcs.tree.node import Node, leaf_payloads
from tests.fuzz.mutations import bounded, mutated, refuse_or_read
from tests.fuzz.samples import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FUZZ = settings(
    settings.get_profile("default"),
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def read_node(content: bytes) -> None:
    node = Node(content)
    _ = node.keys, node.hashes, node.total, node.memory_nbytes
    _ = (node.children, node.counts) if node.level else (node.values, node.value(0))


def read_leaf(content: bytes) -> None:
    for value_nbytes in (8, 32):
        refuse_or_read(lambda nbytes=value_nbytes: leaf_payloads([content], nbytes))  # type: ignore[misc]


def read_links(content: bytes) -> None:
    named_by(content, DEFAULT_BOUNDARY)


def read_merge(content: bytes) -> None:
    objects = MemoryObjects()
    objects.put(list(samples().objects.values()))
    objects.put([content])
    decode_merge(objects, b"merge " + digest_of(content).hex().encode())


def read_ref(value: bytes) -> None:
    objects, refs = MemoryObjects(), MemoryRefs()
    objects.put(list(samples().objects.values()))
    refs.swap([RefChange("HEAD", None, value)])
    for act in (
        lambda: ref_digest(value),
        lambda: decode_ref(objects, "refs/heads/x", value),
        lambda: read_annotation(objects, value),
        lambda: current_branch(refs),
        lambda: decode_merge(objects, value),
    ):
        refuse_or_read(act)


def checked(content: bytes) -> bytes:
    """Replace the check at the end by one that is right: who is hostile writes it too."""
    return content[:-8] + struct.pack("<Q", xxhash.xxh3_64_intdigest(content[:-8]))


def read_pack_record(content: bytes) -> None:
    for found in (content, checked(content)):
        refuse_or_read(lambda found=found: decode_pack_record(bytes(16), found))  # type: ignore[misc]


def read_loose(content: bytes) -> None:
    for found in (content, checked(content)):
        refuse_or_read(lambda found=found: decode_loose(bytes(32), found))  # type: ignore[misc]


def read_filter(content: bytes) -> None:
    text = content.decode("utf-8", "surrogateescape")
    found = read_remotes({"remote.origin.url": "/x", "remote.origin.filter": text})
    chosen = found["origin"].filter
    _ = chosen.is_everything, chosen.takes_column("images"), chosen.to_text()
    chosen.choose("images", Keys(np.arange(3), text_array([b"a"])), nested=False)


def read_format(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FORMAT_FILE).write_bytes(content)
        find_folder(Path(folder))
        check_format(Folder(Path(folder), is_bare=True))


def read_format_copy(content: bytes) -> None:
    """Read a format that was damaged so that the copy is needed, and mend it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FORMAT_COPY_FILE).write_bytes(content)
        find_folder(Path(folder))
        list(format_problems(Path(folder)))
        check_format(Folder(Path(folder), is_bare=True))
        mend_format(Path(folder))
        assert not list(format_problems(Path(folder)))


def read_options(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_bytes(content)
        read_remotes(read_settings(Folder(Path(folder), is_bare=True)))


FORMAT = b'{"format": "tensorvcs", "version": 1, "features": [], "bare": false}'
CHECKED_FORMAT = encode_format(Format(1, (), is_bare=True))
CHECKED_SETTINGS = b'{"crc32": 783831694, "a.b": "c"}'
SETTINGS = b'{"user.name": "Ada", "remote.origin.url": "/x"}'
FILTER = (
    b'{"columns": ["images"], "keys": ["a*", "1:5"], "max_bytes": null, "sample": "first", '
    b'"seed": 0}'
)
TOKENS = (
    b'{"tokens": [{"name": "ada", "sha256": "' + b"ab" * 32 + b'", "rights": {"*": "write"}, '
    b'"expires": "2026-01-02T03:04:05+00:00"}]}'
)
BUCKET_REFS = (
    b'{"format": "tensorvcs bucket", "version": 1, "refs": [["HEAD", "ref refs/heads/main"], '
    b'["refs/heads/main", "commit 00"]], "operation_count": 1, "operations": ["operation 1"]}'
)
SIGNERS = (
    b'*@example.org,!eve@example.org namespaces="tensorvcs",valid-after="20260101Z" ssh-ed25519 '
    b"AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ada\n"
)


def decoders() -> dict[str, tuple[Callable[[bytes], object], Sequence[bytes]]]:
    """Return every decoder, with valid contents for it."""
    found = samples()
    stash = [value for name, value in found.refs.items() if name.startswith(b"stash/")]
    everything = sorted(found.objects.values(), key=len)[:60]
    return {
        "node": (read_node, found.objects_of(b"node")),
        "leaf": (read_leaf, found.objects_of(b"node")),
        "commit": (CommitObject.decode, found.objects_of(b"commit")),
        "tag": (TagObject.decode, found.objects_of(b"tag")),
        "snapshot": (Snapshot.decode, found.objects_of(b"snapshot")),
        "schema and tree": (decode_snapshot, found.objects_of(b"snapshot")),
        "links": (read_links, everything),
        "operation": (lambda c: decode_operation(1, c), sorted(found.operations.values())),
        "staging": (StagingRecord.decode, [found.refs[b"staging"]]),
        "stash": (StashRecord.decode, stash),
        "ref": (read_ref, sorted(found.refs.values())),
        "pack record": (read_pack_record, sorted(found.packs.values())),
        "loose value": (read_loose, sorted(found.loose.values())[:40]),
        "refs of a bucket": (lambda c: _decode_refs_file("b", c), [BUCKET_REFS]),
        "format": (read_format, [FORMAT, CHECKED_FORMAT]),
        "copy of the format": (read_format_copy, [CHECKED_FORMAT]),
        "settings": (read_options, [SETTINGS, CHECKED_SETTINGS]),
        "filter": (read_filter, [FILTER]),
        "merge": (read_merge, [merge_record()]),
        "tokens": (lambda c: tokens._decode(Path("tokens"), c), [TOKENS]),
        "allowed signers": (
            lambda c: AllowedSigners.parse(c.decode("utf-8", "surrogateescape")),
            [SIGNERS],
        ),
    }


NAMES = (
    *("node", "leaf", "commit", "tag", "snapshot", "schema and tree", "links", "operation"),
    *("staging", "stash", "ref", "merge", "pack record", "loose value", "format", "settings"),
    *("copy of the format", "filter", "refs of a bucket", "tokens", "allowed signers"),
)


def merge_record() -> bytes:
    """Return the record of a merge that waits, as the library writes it."""
    snapshot = digest_of(samples().objects_of(b"snapshot")[0]).hex()
    commit = digest_of(samples().objects_of(b"commit")[0]).hex()
    intent: dict[str, Any] = {
        "author": None,
        "author_time": None,
        "head": commit,
        "message": "merge",
        "metadata": {},
        "theirs": commit,
        "verb": "merge",
    }
    sides = dict.fromkeys(("base", "ours", "theirs", "open"), snapshot)
    part = {"column": "labels", "is_open": True, "kind": "removed", "names": ["labels"]}
    fields = {"intent": intent, "parts": [part], "snapshots": sides}
    return encode_object("merge", 1, fields)


@pytest.mark.parametrize("name", NAMES)
def test_hostile_bytes_are_read_or_refused(name: str) -> None:
    decode, valid = decoders()[name]
    assert valid
    assert name == "merge" or all(refuse_or_read(lambda c=c: decode(c)) for c in valid)  # type: ignore[misc]

    @FUZZ
    @given(content=mutated(valid))
    def attack(content: bytes) -> None:
        refuse_or_read(lambda: decode(content))

    with bounded():
        attack()


NESTED = b"[" * 100_000
# What was found by attacks; each raised an error that is not ours.
FOUND = [
    ("ref", b"tag `8ff7abcc56375c141254c1ba407bdb29309ce8180eb5fea9590d5bbb43461da"),
    ("ref", b"ref refs/heads/\xff"),
    ("staging", NESTED),
    ("filter", NESTED),
    ("format", NESTED),
    ("format", b'{"version": Infinity, "features": []}'),
    ("format", b'{"version": 1, "features": [1, "a"]}'),
    ("copy of the format", NESTED),
    ("format", b'{"version": 1, "features": [], "crc32": ' + b"[" * 900 + b"]" * 900 + b"}"),
    ("settings", NESTED),
    ("settings", b'{"crc32": 1, "a.b": "c"}'),
    ("settings", b'{"crc32": 1e999, "a.b": "\\ud800"}'),
    (
        "refs of a bucket",
        BUCKET_REFS.replace(b'"operation_count": 1', b'"operation_count": 1e999'),
    ),
    (
        "operation",
        encode_object(
            "operation",
            1,
            {
                "changes": [["refs/heads/main", True, None]],
                "command": "commit",
                "continues": None,
                "description": "",
                "offset": 0,
                "time": 0,
                "undoes": [],
                "user": "Ada",
            },
        ),
    ),
]


@pytest.mark.parametrize(("name", "content"), FOUND)
def test_what_was_found_is_refused(name: str, content: bytes) -> None:
    decode, _ = decoders()[name]
    is_read = refuse_or_read(lambda: decode(content))
    assert not is_read or name == "ref"  # which catches by itself


def test_every_decoder_is_attacked() -> None:
    assert sorted(decoders()) == sorted(NAMES)
