"""Bundles that were cut, changed, or lie: only errors of ours, and never a wrong value."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tensorvcs.errors import (
    CorruptionError,
    DigestMismatchError,
    ObjectDamagedError,
    ObjectNotFoundError,
    RemoteError,
    UnsupportedFormatError,
)
from tensorvcs.objects.digest import digest_of, digests_to_array
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import pending_values
from tensorvcs.storage.exchange import checked_data
from tensorvcs.storage.memory import MemoryTensors
from tensorvcs.sync import bundle_file
from tensorvcs.sync.bundle import check_bundle
from tensorvcs.sync.bundle_file import BundleFile
from tensorvcs.sync.bundle_format import MAGIC, START, Footer, Head, Layout, Section
from tensorvcs.sync.bundle_stores import bundle_stores
from tensorvcs.sync.bundle_writer import BundleWriter
from tests.memory_repository import MemoryRepository
from tests.tensor_values import IMAGES, every_schema, open_store, put, random_images, same
from tests.unit.sync.bundles import MemoryFile, bundle_of, opened, take_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tensorvcs.storage.interfaces import StoredValues

SCHEMAS = every_schema()
BY_NAME = pytest.mark.parametrize(
    ("schema", "values_of"), [case[1:] for case in SCHEMAS], ids=[case[0] for case in SCHEMAS]
)
MASKS = Schema("ndarray", "uint8", (32, 32), codec="blosc")


def written(*parts: StoredValues, objects: list[bytes] | None = None) -> bytes:
    content = bytearray()
    writer = BundleWriter(content.extend, Head({}))
    for part in parts:
        writer.add_values(part)
    writer.add_objects(objects or [])
    writer.close()
    return bytes(content)


def moved(content: bytes, digests: Any) -> MemoryTensors:
    """Return a store with values taken from a bundle."""
    tensors = MemoryTensors()
    for part in bundle_stores(opened(content)).tensors.stored(digests):
        tensors.take(part)
    tensors.seal()
    return tensors


@BY_NAME
def test_values_of_every_kind_and_any_of_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schema: Schema,
    values_of: Callable[[int], Any],
) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    store = open_store(tmp_path)
    values = values_of(1)
    digests = put(store, schema, values)
    content = written(*store.stored(digests))
    store.close()
    for chosen in (np.arange(len(values)), np.arange(0, len(values), 3)[::-1], np.array([1, 1])):
        taken = moved(content, digests[chosen])
        assert all(map(same, taken.read(schema, digests[chosen]), [values[i] for i in chosen]))
    sizes = bundle_stores(opened(content)).tensors.sizes(digests)
    assert sizes.tolist() == [np.asarray(v).nbytes for v in values] or schema.kind != "ndarray"


@pytest.fixture
def slab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredValues:
    """Rows that are stored as one compressed frame."""
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    store = open_store(tmp_path)
    rows = np.repeat(np.arange(200, dtype=np.uint8), 1024).reshape(200, 32, 32)
    (part,) = store.stored(put(store, MASKS, rows))
    store.close()
    assert part.compressor == "lz4"
    assert part.shape is not None
    return part


def test_rows_of_a_slab(slab: StoredValues) -> None:
    content = written(slab)
    (whole,) = bundle_stores(opened(content)).tensors.stored(slab.digests)
    assert whole.compressor == "lz4"
    assert whole.data.tobytes() == slab.data.tobytes()
    (some,) = bundle_stores(opened(content)).tensors.stored(slab.digests[[7, 3]])
    assert some.compressor is None
    assert set(some.data.tolist()) == {3, 7}
    assert len(checked_data(some)) == 2


def test_a_slab_that_its_directory_does_not_fit(slab: StoredValues) -> None:
    other = replace(slab, digests=np.ascontiguousarray(slab.digests[::-1]))
    with pytest.raises(DigestMismatchError):
        list(bundle_stores(opened(written(other))).tensors.stored(slab.digests[:3]))
    content = bytearray(written(slab))
    place = content.index(slab.digests[5].tobytes())
    content[place] ^= 1  # in the frame, which comes before the directory
    with pytest.raises(ObjectDamagedError, match="not the one that its directory names"):
        list(bundle_stores(opened(bytes(content))).tensors.stored(slab.digests[5:6]))
    description = content.index(b'{"kind"')
    content[description] = ord("[")
    with pytest.raises(ObjectDamagedError, match="cannot be read"):
        list(bundle_stores(opened(bytes(content))).tensors.stored(slab.digests[5:6]))


def test_large_payload_is_read_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    store, images = MemoryTensors(), random_images(40)
    digests = put(store, IMAGES, images)
    content = written(*store.stored(digests))
    monkeypatch.setattr(bundle_file, "_READ_NBYTES", 3000)
    assert len(moved(content, digests).values) == 40


def test_a_few_values_are_read_without_the_rest() -> None:
    store, images = MemoryTensors(), random_images(400)
    digests = put(store, IMAGES, images)
    file = MemoryFile(written(*store.stored(digests)))
    bundle = BundleFile(file, checked_data)
    places = bundle.find_values(digests[[5, 9]])
    file.reads.clear()
    assert sum(len(part.data) for part in bundle.stored_values(places)) == 2 * images[0].nbytes
    assert file.read_nbytes == 2 * images[0].nbytes


# Damage


@pytest.fixture(scope="module")
def pets() -> MemoryRepository:
    repo = MemoryRepository()

    def change(co: Any) -> None:
        co.add_ndarray_column("images", (16, 16, 3), "uint8").extend(random_images(30))
        co.add_str_column("names").update({f"k{i}": f"name {i}" * 9 for i in range(9)})

    repo.commit(change)
    repo.branch_at("side")
    return repo


@pytest.fixture(scope="module")
def content(pets: MemoryRepository) -> bytes:
    return bundle_of(pets.stores)


FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def taken_or_refused(pets: MemoryRepository, changed: bytes) -> None:
    """Take a bundle that may be damaged: all of it arrives, or an error of ours."""
    try:
        repo = take_bundle(changed)
    except (CorruptionError, RemoteError, UnsupportedFormatError, ObjectNotFoundError):
        return
    for branch in ("main", "side"):
        assert repo.content(branch) == pets.content(branch)


@given(st.data())
@FUZZ
def test_flipped_bits(pets: MemoryRepository, content: bytes, data: st.DataObject) -> None:
    # More often at the end, where the directories are.
    place = data.draw(
        st.one_of(
            st.integers(0, len(content) - 1), st.integers(len(content) - 5000, len(content) - 1)
        )
    )
    changed = bytearray(content)
    changed[place] ^= data.draw(st.integers(1, 255))
    taken_or_refused(pets, bytes(changed))
    # Whoever checks all of it finds any change but that of the head of a frame.
    try:
        check_bundle(opened(bytes(changed), is_checked=True))
    except (CorruptionError, UnsupportedFormatError):
        return
    assert take_bundle(bytes(changed)).content("main") == pets.content("main")


@given(st.data())
@FUZZ
def test_a_bundle_that_was_cut(pets: MemoryRepository, content: bytes, data: st.DataObject) -> None:
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    with pytest.raises((ObjectDamagedError, UnsupportedFormatError)):
        opened(cut)


@given(st.binary(max_size=400))
@example(START.pack(MAGIC, 1))
def test_what_is_no_bundle(content: bytes) -> None:
    with pytest.raises((ObjectDamagedError, UnsupportedFormatError)):
        opened(content)


def test_another_version() -> None:
    with pytest.raises(UnsupportedFormatError, match="version 7; this version reads 1"):
        opened(START.pack(MAGIC, 7) + bytes(400))
    with pytest.raises(UnsupportedFormatError, match=r"is no bundle\n"):
        opened(bytes(400))
    with pytest.raises(UnsupportedFormatError, match="it has 3 bytes"):
        opened(b"abc")


# Lies: whole files whose digests fit


NAMES = ("head", "objects", "values")


def relabelled(content: bytes, name: str, section: bytes) -> bytes:
    """Return a bundle with another head or directory, as whoever lies would make it."""
    footer = opened(content).footer
    start = len(content) - Footer.NBYTES
    placed = Section(start, len(section), digest_of(section))
    return content[:start] + section + replace(footer, **{name: placed}).encode()


def section_of(content: bytes, name: str) -> bytes:
    section = getattr(opened(content).footer, name)
    return content[section.start : section.start + section.nbytes]


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"refs": [["refs/heads/../x", "commit %s"]], "prerequisites": [], "part": null}'
        % (b"0" * 64),
        b'{"refs": [["refs/heads/x", "commit 12"]], "prerequisites": [], "part": null}',
        b'{"refs": [["refs/heads/x", "tag %s"]], "prerequisites": [], "part": null}' % (b"0" * 64),
        b'{"refs": [["staging", "commit %s"]], "prerequisites": [], "part": null}' % (b"0" * 64),
        b'{"refs": [["HEAD", "x"]], "prerequisites": [], "part": null}',
        b'{"refs": [["HEAD", "ref refs/heads/-x"]], "prerequisites": [], "part": null}',
        b'{"refs": [["HEAD", "ref refs/heads/\\u00ff"]], "prerequisites": [], "part": null}',
        b'{"refs": [["HEAD", 5]], "prerequisites": [], "part": null}',
        b'{"refs": [], "prerequisites": ["12"], "part": null}',
        b'{"refs": [], "prerequisites": ["no"], "part": null}',
        b'{"refs": [], "prerequisites": [], "part": "{}"}',
        b'{"refs": [], "prerequisites": [], "part": 5}',
    ],
)
def test_heads_that_cannot_be(content: bytes, head: bytes) -> None:
    with pytest.raises(ObjectDamagedError, match="its list of refs cannot be read"):
        bundle_stores(opened(relabelled(content, "head", head)))


def test_a_head_without_end(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "MAX_JSON_NBYTES", 10)
    with pytest.raises(ObjectDamagedError, match="its list of refs would have"):
        bundle_stores(opened(content))


@pytest.mark.parametrize("name", NAMES)
def test_a_section_beyond_the_file(content: bytes, name: str) -> None:
    footer = opened(content).footer
    start = len(content) - Footer.NBYTES
    for section in (Section(start, 2**62, b"x" * 32), Section(2**63, 5, b"x" * 32)):
        with pytest.raises(ObjectDamagedError, match="a directory would be at"):
            opened(content[:start] + replace(footer, **{name: section}).encode())


@pytest.mark.parametrize("name", ["objects", "values"])
def test_directories_that_are_hashed_when_all_is_checked(content: bytes, name: str) -> None:
    section = bytearray(section_of(content, name))
    section[-1] ^= 1
    footer = opened(content).footer
    start = len(content) - Footer.NBYTES
    placed = replace(getattr(footer, name), start=start)
    changed = content[:start] + section + replace(footer, **{name: placed}).encode()
    with pytest.raises(ObjectDamagedError, match="does not hash"):
        check_bundle(opened(changed, is_checked=True))


@pytest.mark.parametrize("name", ["objects", "values"])
@pytest.mark.parametrize("cut", [1, 48, 70])
def test_directories_of_another_length(content: bytes, name: str, cut: int) -> None:
    lie = relabelled(content, name, section_of(content, name)[:-cut])
    with pytest.raises((ObjectDamagedError, ObjectNotFoundError)):
        take_bundle(lie)
    short = relabelled(content, "values", b"short")
    with pytest.raises(ObjectDamagedError, match="has 5 bytes"):
        take_bundle(short)
    huge = relabelled(content, "values", struct.pack("<5Q", 2**60, 2**60, 2**60, 2**60, 2**60))
    with pytest.raises(ObjectDamagedError, match="expected"):
        take_bundle(huge)


@given(st.data())
@FUZZ
def test_directories_with_any_numbers(
    pets: MemoryRepository, content: bytes, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["objects", "values"]))
    section = bytearray(section_of(content, name))
    for _ in range(data.draw(st.integers(1, 4))):
        width = data.draw(st.sampled_from([1, 4, 8]))
        at = data.draw(st.integers(0, len(section) - width))
        number = data.draw(
            st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
        )
        section[at : at + width] = (number % 256**width).to_bytes(width, "little")
    taken_or_refused(pets, relabelled(content, name, bytes(section)))


@given(st.data())
@FUZZ
def test_entries_with_any_places(
    pets: MemoryRepository, content: bytes, data: st.DataObject
) -> None:
    bundle = opened(content)
    numbers = st.integers(0, 2**64 - 1) | st.integers(0, len(content))
    directory: Any = bundle.values
    lies: dict[str, Any] = {}
    for name in data.draw(st.lists(st.sampled_from(
        ["frame_sizes", "part_numbers", "rows", "parts", "extents"]
    ), min_size=1, max_size=2)):  # fmt: skip
        column = getattr(directory, name).copy()
        at = data.draw(st.integers(0, max(0, len(column) - 1)))
        if name == "parts":
            field = data.draw(st.sampled_from(column.dtype.names))
            cells = column[field]
        else:
            cells = column
        if not len(cells):
            continue
        number = data.draw(numbers)
        cells[at if data.draw(st.booleans()) else slice(None)] = np.array(
            [number % 2 ** (8 * cells.dtype.itemsize)], f"u{cells.dtype.itemsize}"
        ).astype(cells.dtype)[0]
        lies[name] = column
    lie = relabelled(content, "values", replace(directory, **lies).encode())
    taken_or_refused(pets, lie)


@pytest.mark.parametrize(
    "layout",
    [
        Layout("ndarray", "uint8", (2,), None, 65),
        Layout("other", "uint8", (2,), None, 0),  # type: ignore[arg-type]
        Layout("ndarray", "uint8", (2,), "zip", 0),  # type: ignore[arg-type]
        Layout("ndarray", 5, (2,), None, 0),  # type: ignore[arg-type]
        Layout("ndarray", "uint8", (-1,), None, 0),
        Layout("ndarray", "uint8", "xy", None, 0),  # type: ignore[arg-type]
        Layout("ndarray", "uint8", (2,), None, None),  # type: ignore[arg-type]
        Layout("ndarray", "uint8", (1,) * 65, None, 0),
    ],
)
def test_layouts_that_cannot_be(content: bytes, layout: Layout) -> None:
    directory: Any = opened(content).values
    lie = relabelled(content, "values", replace(directory, layouts=[layout] * 9).encode())
    with pytest.raises(ObjectDamagedError, match="its list of layouts"):
        take_bundle(lie)


def test_values_that_overlap_are_not_read_again_and_again(content: bytes) -> None:
    """A file of a few kB that says that each value is the whole of a part takes no memory."""
    store, images = MemoryTensors(), random_images(50)
    digests = put(store, IMAGES, images)
    parts = list(store.stored(digests))
    joined = replace(
        parts[0],
        digests=np.concatenate([p.digests for p in parts]),
        shapes=np.concatenate([p.shapes for p in parts]),
        sizes=np.concatenate([p.sizes for p in parts]),
        data=np.concatenate([p.data for p in parts]),
    )
    honest = written(joined)
    directory: Any = opened(honest).values
    sizes = np.full(50, 50 * images[0].nbytes)
    lie = relabelled(honest, "values", replace(directory, frame_sizes=sizes).encode())
    with pytest.raises(ObjectDamagedError, match="are longer than it is"):
        moved(lie, digests)
    lie = relabelled(honest, "values", replace(directory, rows=np.zeros(50, np.uint32)).encode())
    with pytest.raises(ObjectDamagedError, match="would lie outside"):
        moved(lie, digests)


@pytest.mark.parametrize(
    ("lies", "problem"),
    [
        ({"part_numbers": np.full(3, 7, "<u4")}, "is in part 7, which there is not"),
        ({"layouts": []}, "unknown layout 0"),
        ({"frame_sizes": np.zeros(1, "<i8")}, "is frame 2, which there is not"),
        ({"frame_sizes": np.full(3, -1, "<i8")}, "less than no bytes"),
    ],
)
def test_sizes_that_cannot_be(lies: dict[str, Any], problem: str) -> None:
    store = MemoryTensors()
    digests = put(store, Schema("str"), ["one", "two", "three"])
    parts = list(store.stored(digests))
    joined = replace(
        parts[0],
        digests=np.concatenate([p.digests for p in parts]),
        shapes=np.concatenate([p.shapes for p in parts]),
        sizes=np.concatenate([p.sizes for p in parts]),
        data=np.concatenate([p.data for p in parts]),
    )
    content = written(joined)
    directory: Any = opened(content).values
    lie = relabelled(content, "values", replace(directory, **lies).encode())
    with pytest.raises(ObjectDamagedError, match=problem):
        bundle_stores(opened(lie)).tensors.sizes(digests)


def test_a_slab_that_holds_frames(slab: StoredValues) -> None:
    """The directory speaks of compressed rows, and the part has something else."""
    store = MemoryTensors()
    digests = put(store, Schema("str"), [f"text {n}" for n in range(3)])
    texts = list(store.stored(digests))
    content = written(texts[0], slab)
    directory: Any = opened(content).values
    parts = directory.parts.copy()
    parts["start"][1], parts["nbytes"][1] = parts["start"][0], parts["nbytes"][0]
    parts["data_start"][1] = parts["data_start"][0]
    lie = relabelled(content, "values", replace(directory, parts=parts).encode())
    with pytest.raises(ObjectDamagedError, match="not the one that its directory names"):
        moved(lie, slab.digests[:2])


def test_frames_that_become_very_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kB that say that they are gigabytes take no memory, and end as an error."""
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    store = open_store(tmp_path)
    digests = put(
        store, Schema("bytes", codec="blosc"), [bytes(3000) + bytes([n]) for n in range(9)]
    )
    (part,) = store.stored(digests)
    store.close()
    assert part.compressor is not None
    data = bytearray(part.data.tobytes())
    for end, size in zip(np.cumsum(part.sizes).tolist(), part.sizes.tolist(), strict=True):
        data[end - size + 4 : end - size + 8] = struct.pack("<I", 2**30)
    content = written(replace(part, data=np.frombuffer(bytes(data), np.uint8)))
    with pytest.raises(ObjectDamagedError, match=f"that decode to {9 << 30} bytes"):
        moved(content, digests)


def test_a_slab_that_becomes_very_large(slab: StoredValues) -> None:
    big = replace(slab, sizes=np.full(len(slab), 1 << 40), shape=(1 << 20, 1 << 20))
    content = written(big)
    for wanted in (slab.digests, slab.digests[:3]):
        with pytest.raises(ObjectDamagedError, match="that decode to"):
            moved(content, wanted)


def test_objects_that_overlap_are_not_read_again_and_again() -> None:
    objects = [b"%d" % n * 100 for n in range(20)]
    honest = written(objects=objects)
    directory: Any = opened(honest).objects
    whole = np.full(20, len(honest) // 2, np.uint64)
    lie = relabelled(honest, "objects", replace(directory, starts=whole * 0, sizes=whole).encode())
    bundle = opened(lie)
    with pytest.raises(ObjectDamagedError, match="20 objects would have"):
        bundle.read_objects(np.arange(20))
    # One that is asked for often is not many.
    places = bundle.find_objects(digests_to_array([digest_of(objects[3])]))
    assert opened(honest).read_objects(np.repeat(places, 500)) == [objects[3]] * 500


def test_an_object_that_is_another_one(content: bytes) -> None:
    made = written(objects=[b"one", b"two"])
    bundle = opened(made.replace(b"one", b"eno"))
    with pytest.raises(DigestMismatchError, match="does not hash to its name"):
        bundle_stores(bundle).objects.get([digest_of(b"two"), digest_of(b"one")])


def test_many_objects_in_few_frames() -> None:
    objects = [bytes([n % 256]) * (n * 7 % 5000) + str(n).encode() for n in range(1500)]
    bundle = opened(written(objects=objects))
    names = [digest_of(content) for content in objects]
    assert bundle_stores(bundle).objects.get(names) == objects
    assert (bundle.find_objects(digests_to_array(names)) >= 0).all()
