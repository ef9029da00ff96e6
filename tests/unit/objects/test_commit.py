from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import InvalidInputError, ObjectDamagedError, UnsupportedFormatError
from tensorvcs.objects.commit import (
    EMPTY_SNAPSHOT,
    MAX_METADATA_NAME_LENGTH,
    MAX_SIGNATURE_LENGTH,
    ColumnEntry,
    CommitObject,
    Identity,
    Snapshot,
    TagObject,
    Timestamp,
    check_metadata,
)
from tensorvcs.objects.digest import CommitDigest, SnapshotDigest, digest_of

ADA = Identity("Ada Lovelace", "ada@example.org")
BOB = Identity("Bób \U0001f600", "b")
TIME = Timestamp(1_700_000_000_123_456, -210)
COMMIT = CommitObject(
    snapshot=SnapshotDigest(b"s" * 32),
    parents=(CommitDigest(b"p" * 32), CommitDigest(b"q" * 32)),
    generation=3,
    author=ADA,
    author_time=TIME,
    committer=BOB,
    commit_time=Timestamp(0),
    message="A line\n\nand more — é",
    metadata={"b": "1", "a": ""},
)
TAG = TagObject(CommitDigest(b"c" * 32), "v1", ADA, TIME, "first")
SNAPSHOT = Snapshot({"b": ColumnEntry({"kind": "str"}, {"x": 1}), "a": ColumnEntry({}, {})})

ONE_LINE = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="<>\n\r\0"), min_size=1
).filter(lambda text: bool(text.strip()))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
IDENTITIES = st.builds(Identity, ONE_LINE, ONE_LINE)
TIMES = st.builds(Timestamp, st.integers(-(10**16), 10**17), st.integers(-1439, 1439))
DIGESTS = st.binary(min_size=32, max_size=32)


@given(
    st.builds(
        CommitObject,
        DIGESTS,
        st.lists(DIGESTS, max_size=3).map(tuple),
        st.integers(0, 2**40),
        IDENTITIES,
        TIMES,
        IDENTITIES,
        TIMES,
        TEXTS,
        st.dictionaries(TEXTS, TEXTS, max_size=3),
        st.none() | TEXTS.filter(bool),
    )
)
def test_a_commit_comes_back(commit: CommitObject) -> None:
    assert CommitObject.decode(commit.encode()) == commit


@given(st.builds(TagObject, DIGESTS, TEXTS, IDENTITIES, TIMES, TEXTS))
def test_a_tag_comes_back(tag: TagObject) -> None:
    assert TagObject.decode(tag.encode()) == tag


def test_a_snapshot_comes_back_in_the_order_of_its_names() -> None:
    found = Snapshot.decode(SNAPSHOT.encode())
    assert list(found.columns) == ["a", "b"]
    assert found == SNAPSHOT
    assert Snapshot.decode(EMPTY_SNAPSHOT.encode()) == EMPTY_SNAPSHOT


def test_ids_of_the_format_stay() -> None:
    assert (
        digest_of(COMMIT.encode()).hex()
        == "a135b018bfaf338111116d4479d77581822b7288ad6876ee9072d62832c25d7b"
    )
    assert TAG.digest.hex() == "f9aa2653415da709dae18545f84c2cbee6d61e7169a03f0cdcbf758d1c7fa69e"
    assert (
        SNAPSHOT.digest.hex() == "4a11fd6f9a5c5c166dbfe7edeb874281e742f558a413b39c606be0d007a8e7ed"
    )
    assert (
        EMPTY_SNAPSHOT.digest.hex()
        == "997c3895b7700958e6650c835c109abc31f21fce3d6b5558cbe1e44b61a6d599"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"snapshot": SnapshotDigest(b"x" * 32)},
        {"parents": (CommitDigest(b"q" * 32), CommitDigest(b"p" * 32))},
        {"generation": 4},
        {"author": BOB},
        {"author_time": Timestamp(TIME.microseconds, 0)},
        {"committer": ADA},
        {"commit_time": Timestamp(1)},
        {"message": "A line"},
        {"metadata": {"b": "1"}},
        {"signature": "x"},
    ],
)
def test_every_part_of_a_commit_is_in_its_id(change: dict[str, Any]) -> None:
    assert replace(COMMIT, **change).encode() != COMMIT.encode()


def spelled(content: bytes, change: Any) -> bytes:
    """Change the fields of an object and spell them canonically."""
    head, _, text = content.partition(b"\n")
    fields = json.loads(text)
    change(fields)
    spelling = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return head + b"\n" + spelling.encode()


def put(*path: Any, value: Any) -> Any:
    def change(fields: Any) -> None:
        for name in path[:-1]:
            fields = fields[name]
        fields[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop("parents"),
        lambda fields: fields["author"].pop("email"),
        put("more", value=1),
        put("author", "more", value=1),
        put("snapshot", value="ab"),
        put("snapshot", value="AB" * 32),
        put("snapshot", value=None),
        put("parents", value=None),
        put("parents", value=["zz" * 32]),
        put("generation", value="3"),
        put("generation", value=-1),
        put("generation", value=True),
        put("message", value=1),
        put("metadata", value={"a": 1}),
        put("metadata", value=[]),
        put("signature", value=None),
        put("signature", value=""),
        put("signature", value=1),
        put("signature", value="x" * (MAX_SIGNATURE_LENGTH + 1)),
        put("author", "name", value=""),
        put("author", "name", value="a<b"),
        put("author", "name", value=1),
        put("author", "time", value=10**20),
        put("author", "time", value=True),
        put("committer", "offset", value=1440),
        put("committer", value="Bob"),
    ],
)
def test_a_commit_with_other_fields_is_damaged(change: Any) -> None:
    with pytest.raises(ObjectDamagedError):
        CommitObject.decode(spelled(COMMIT.encode(), change))


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop("name"),
        put("more", value=1),
        put("name", value=1),
        put("commit", value="ab"),
        put("tagger", value={}),
        put("message", value=None),
    ],
)
def test_a_tag_with_other_fields_is_damaged(change: Any) -> None:
    with pytest.raises(ObjectDamagedError):
        TagObject.decode(spelled(TAG.encode(), change))


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop("columns"),
        put("more", value=1),
        put("columns", value=[]),
        put("columns", "a", value=None),
        put("columns", "a", value={"schema": {}}),
        put("columns", "a", "schema", value=7),
        put("columns", "a", "more", value=7),
    ],
)
def test_a_snapshot_with_other_fields_is_damaged(change: Any) -> None:
    with pytest.raises(ObjectDamagedError):
        Snapshot.decode(spelled(SNAPSHOT.encode(), change))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (CommitObject, COMMIT.encode()),
        (TagObject, TAG.encode()),
        (Snapshot, SNAPSHOT.encode()),
    ],
)
def test_objects_of_the_future_say_so(kind: Any, content: bytes) -> None:
    with pytest.raises(UnsupportedFormatError):
        kind.decode(content.replace(b" 1\n", b" 2\n", 1))
    with pytest.raises(ObjectDamagedError):
        kind.decode(b"un" + content)


@pytest.mark.parametrize(
    ("text", "name", "email"),
    [
        ("Ada Lovelace <ada@example.org>", "Ada Lovelace", "ada@example.org"),
        ("  Ada  < a b >", "Ada", "a b"),
    ],
)
def test_an_identity_is_read(text: str, name: str, email: str) -> None:
    assert Identity.parse(text) == Identity(name, email)
    assert Identity.parse(str(Identity(name, email))) == Identity(name, email)


@pytest.mark.parametrize(
    "text", ["", "Ada", "Ada <a", "Ada a>", "<a>", "Ada <>", "A<b <c>", "A\nB <c>", "A <\ud800>"]
)
def test_an_identity_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        Identity.parse(text)


@pytest.mark.parametrize(("name", "email"), [("", "a"), ("a", " "), (1, "a"), ("a", None)])
def test_an_identity_has_two_texts(name: Any, email: Any) -> None:
    with pytest.raises(InvalidInputError):
        Identity(name, email)


@given(st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1)), st.integers(-1439, 1439))
def test_a_time_comes_back_with_its_zone(naive: dt.datetime, offset: int) -> None:
    moment = naive.replace(tzinfo=dt.timezone(dt.timedelta(minutes=offset)))
    stamp = Timestamp.of(moment)
    assert stamp.moment == moment
    assert stamp.moment.utcoffset() == moment.utcoffset()


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="time zone"):
        Timestamp.of(dt.datetime(2024, 1, 1))


@pytest.mark.parametrize(
    ("microseconds", "offset"), [(10**18, 0), (-(10**18), 0), (0, 1440), (0.5, 0), (0, None)]
)
def test_a_time_that_no_calendar_has_is_refused(microseconds: Any, offset: Any) -> None:
    with pytest.raises(InvalidInputError):
        Timestamp(microseconds, offset)


def test_the_outermost_times_can_be_shown() -> None:
    for microseconds in (-62_135_510_400_000_000, 253_402_128_000_000_000):
        for offset in (-1439, 1439):
            assert Timestamp(microseconds, offset).moment.utcoffset() is not None


def test_what_a_signature_is_over() -> None:
    signed = replace(COMMIT, signature="x" * MAX_SIGNATURE_LENGTH)
    assert signed.payload == COMMIT.payload == COMMIT.encode()
    assert CommitObject.decode(signed.encode()) == signed
    assert b"signature" not in COMMIT.encode()


def test_metadata_is_text_to_text() -> None:
    assert check_metadata(None) == {}
    assert check_metadata({"a": "b"}) == {"a": "b"}
    longest = {"é" * MAX_METADATA_NAME_LENGTH: "a=b\n", "data source": ""}
    assert check_metadata(longest) == longest


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        "a",
        {"a": 1},
        {1: "a"},
        {"a": "\ud800"},
        {"\ud800": ""},
        {"": "a"},
        {"a=b": "c"},
        {" a": "b"},
        {"a\u00a0": "b"},
        {"a\n": "b"},
        {"\x1b[2J": "b"},
        {"a" * (MAX_METADATA_NAME_LENGTH + 1): "b"},
    ],
)
def test_other_metadata_is_refused(metadata: Any) -> None:
    with pytest.raises(InvalidInputError):
        check_metadata(metadata)
