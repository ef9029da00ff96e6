"""Whatever page of the database is lost, all that is left on the others comes back, and no lie."""

from __future__ import annotations

import random
import shutil
import struct
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import lmdb
import pytest

import tensorvcs as tv
from benchmarks.trust import harm
from benchmarks.trust.experiments import change_record
from tensorvcs import recovery
from tensorvcs.errors import (
    ObjectDamagedError,
    ObjectNotFoundError,
    StateError,
    WorkInProgressError,
)
from tensorvcs.storage import lmdb_recovery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.trust.experiments import Trial
    from benchmarks.trust.tiny import Tiny

PAGE = 4096
DATA = ".tensorvcs/lmdb/data.mdb"


@dataclass(frozen=True, slots=True)
class Whole:
    """The repository that is harmed.

    Attributes
    ----------
    path : Path
    page_count : int
    pages_of : dict of bytes to list of set of int
        For each record under a digest the pages of each of its copies.
    right : int
        The values that a reader of everything finds.
    """

    path: Path
    page_count: int
    pages_of: dict[bytes, list[set[int]]]
    right: int

    def left_without(self, pages: set[int]) -> set[bytes]:
        """Return the digests of which a copy lies on other pages alone."""
        return {
            digest
            for digest, copies in self.pages_of.items()
            if any(not copy & pages for copy in copies)
        }


def copies_in(content: bytes) -> dict[bytes, list[set[int]]]:
    """Return the pages of each copy of each record with a key of 32 bytes, of a sound file."""
    found: dict[bytes, list[set[int]]] = defaultdict(list)
    skipped = 0
    for number in range(2, len(content) // PAGE):
        page = content[number * PAGE : (number + 1) * PAGE]
        name, _, flags, lower, upper = struct.unpack_from("<QHHHH", page)
        if skipped:
            skipped -= 1
        elif flags == 4 and name == number:
            skipped = struct.unpack_from("<I", page, 12)[0] - 1
        elif flags in (2, 0x12) and name == number and 16 <= lower <= upper <= PAGE:
            for (at,) in struct.iter_unpack("<H", page[16:lower]):
                low, high, kind, key_nbytes = struct.unpack_from("<HHHH", page, at)
                key = page[at + 8 : at + 8 + key_nbytes]
                copy = {number}
                if kind & 1:
                    first = struct.unpack_from("<Q", page, at + 8 + key_nbytes)[0]
                    nbytes = 16 + (low | high << 16)
                    copy |= set(range(first, first + -(-nbytes // PAGE)))
                if key_nbytes == 32 and kind in (0, 1):
                    found[key].append(copy)
    return found


def live_digests(path: Path) -> set[bytes]:
    environment = lmdb.open(
        str(path / ".tensorvcs" / "lmdb"), max_dbs=16, readonly=True, lock=False
    )
    try:
        digests = set()
        for name in (b"objects", b"loose"):
            with environment.begin() as txn:
                database = environment.open_db(name, txn, create=False)
                digests |= {bytes(key) for key, _ in txn.cursor(database)}
        return digests
    finally:
        environment.close()


@pytest.fixture(scope="module")
def known(whole: Tiny, trial: Trial) -> Whole:
    content = (whole.path / DATA).read_bytes()
    live = live_digests(whole.path)
    # What stale pages have beside it is no record that was ever complete, or is one all the same.
    copies = {digest: c for digest, c in copies_in(content).items() if digest in live}
    assert set(copies) == live
    return Whole(whole.path, len(content) // PAGE, copies, trial.probe.look(whole.path).right)


@pytest.fixture
def copy(whole: Tiny, tmp_path: Path) -> Path:
    return shutil.copytree(whole.path, tmp_path / "copy")


def harmed(known: Whole, folder: Path, act: Callable[[Path], object]) -> tuple[Path, object]:
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(known.path, copy)
    act(copy / DATA)
    return copy, tv.recover(copy)


def check(known: Whole, copy: Path, report: object, lost: set[int], trial: Trial | None) -> None:
    assert isinstance(report, tv.RecoveryReport)
    assert live_digests(copy) >= known.left_without(lost)
    if trial is not None:
        reading = trial.probe.look(copy)
        assert reading.wrong == reading.missing == 0, reading
        assert reading.foreign == []
        assert reading.is_opened
        # One page of a database is never all of the repository.
        assert reading.right > 0
        if len(known.left_without(lost)) == len(known.pages_of):
            assert (reading.right, reading.is_sound) == (known.right, True)
            assert report.is_complete


def test_every_page_zeroed_in_turn(known: Whole, trial: Trial, tmp_path: Path) -> None:
    for page in range(known.page_count):
        copy, report = harmed(
            known, tmp_path, lambda data, p=page: harm.zero_block(data, p * PAGE, PAGE)  # type: ignore[misc]
        )  # fmt: skip
        check(known, copy, report, {page}, trial if page % 3 == 0 or page < 3 else None)


def test_a_bit_of_every_page_flipped_in_turn(known: Whole, trial: Trial, tmp_path: Path) -> None:
    drawn = random.Random(0)
    for page in range(known.page_count):
        # In the head of every second, where most depends on each bit.
        place = page * PAGE + drawn.randrange(PAGE if page % 2 else 24)
        bit = drawn.randrange(8)
        copy, report = harmed(
            known,
            tmp_path,
            lambda data, p=place, b=bit: harm.flip_bit(data, p, b),  # type: ignore[misc]
        )
        check(known, copy, report, {page}, trial if page % 6 == 1 else None)


def test_cut_at_every_page(known: Whole, trial: Trial, tmp_path: Path) -> None:
    for left in range(1, known.page_count):
        lost = set(range(left, known.page_count))
        try:
            copy, report = harmed(
                known,
                tmp_path,
                lambda data, n=left: harm.truncate(data, n * PAGE),  # type: ignore[misc]
            )
        except ObjectDamagedError as error:
            assert "not one commit left" in str(error)
            continue
        assert isinstance(report, tv.RecoveryReport)
        assert live_digests(copy) >= known.left_without(lost)
        if left % 8 == 0:
            reading = trial.probe.look(copy)
            assert reading.foreign == []
            # A branch that only old pages tell of may be an older one, and the report says so.
            is_told = any(decision.problem for decision in report.refs)
            assert is_told or reading.wrong == reading.missing == 0


def test_both_head_pages_destroyed(known: Whole, trial: Trial, tmp_path: Path) -> None:
    def act(data: Path) -> None:
        data.write_bytes(random.Random(0).randbytes(2 * PAGE) + data.read_bytes()[2 * PAGE :])

    copy, report = harmed(known, tmp_path, act)
    check(known, copy, report, {0, 1}, trial)
    assert (copy / ".tensorvcs" / "lmdb-damaged-1" / "data.mdb").read_bytes()[2 * PAGE :]


def test_the_older_head_alone_loses_nothing(known: Whole, trial: Trial, tmp_path: Path) -> None:
    """The last transaction is found on the pages, by its entry in the operation log."""

    def destroy_newest(data: Path) -> None:
        heads = [data.read_bytes()[n * PAGE : (n + 1) * PAGE] for n in (0, 1)]
        numbers = [struct.unpack_from("<Q", head, 16 + 24 + 96 + 8)[0] for head in heads]
        newest = numbers.index(max(numbers))
        harm.zero_block(data, newest * PAGE, PAGE)

    copy, report = harmed(known, tmp_path, destroy_newest)
    check(known, copy, report, set(), trial)
    with tv.open(known.path) as before, tv.open(copy) as after:
        assert after.operations()[1:] == before.operations()
        refs = dict(before._stores.refs.items())
        assert dict(after._stores.refs.items()) == refs


def records_of(path: Path, name: bytes) -> Iterator[tuple[bytes, bytes]]:
    environment = lmdb.open(str(path / ".tensorvcs" / "lmdb"), max_dbs=16)
    try:
        with environment.begin() as txn:
            for key, value in txn.cursor(environment.open_db(name, txn, create=False)):
                yield bytes(key), bytes(value)
    finally:
        environment.close()


def drop_records(path: Path) -> None:
    """Destroy every copy of every record of a pack."""
    content = (path / DATA).read_bytes()
    for key, value in list(records_of(path, b"packs")):
        if len(key) == 16:
            assert value[:40] in content
            content = content.replace(value[:40], bytes(40))
    (path / DATA).write_bytes(content)


def test_lost_records_of_packs_are_made_anew(known: Whole, trial: Trial, copy: Path) -> None:
    drop_records(copy)
    report = tv.recover(copy)
    assert len(report.rebuilt_packs) == 3
    assert report.is_complete, str(report)
    reading = trial.probe.look(copy)
    assert (reading.right, reading.is_sound) == (known.right, True)


def test_a_damaged_pack_that_lost_its_record_is_written_anew(
    whole: Tiny, trial: Trial, known: Whole, copy: Path
) -> None:
    drop_records(copy)
    pack = copy / whole.packs["rows"].relative_to(whole.path)
    harm.flip_bit(pack, 60_000)
    before = {path.name: path.read_bytes() for path in pack.parent.iterdir()}
    told = tv.recover(copy, dry_run=True)
    assert told.rewritten_packs == [pack.name]
    assert {path.name: path.read_bytes() for path in pack.parent.iterdir()} == before
    report = tv.recover(copy)
    assert report.rewritten_packs == [pack.name]
    assert pack.with_name(f"damaged-{pack.name}").read_bytes() == before[pack.name]
    reading = trial.probe.look(copy)
    # One image and its reads in batches, of three revisions.
    assert reading.wrong == reading.missing == 0
    assert reading.right >= known.right - 3 * 64 * 3
    with tv.open(copy) as repo:
        touched = repo.verify().touched
        assert {t.column for t in touched} == {"images"}
        assert all(t.sample_count == 1 for t in touched)


def test_a_pack_of_which_nothing_is_left_is_kept_for_people(whole: Tiny, copy: Path) -> None:
    drop_records(copy)
    pack = copy / whole.packs["frames"].relative_to(whole.path)
    harm.zero_block(pack, 0, 4096)
    report = tv.recover(copy)
    assert report.unreadable_packs == [pack.name]
    assert not report.is_complete
    assert pack.with_name(f"damaged-{pack.name}").exists()
    with tv.open(copy) as repo, pytest.raises(ObjectNotFoundError):
        repo.checkout("main")["clouds"][:]


def test_the_record_of_another_pack_is_not_taken(known: Whole, trial: Trial, copy: Path) -> None:
    keys = [key for key, _ in records_of(copy, b"packs") if len(key) == 16]
    contents = dict(records_of(copy, b"packs"))
    change_record(copy, "packs", keys[0], lambda *_: contents[keys[1]])
    report = tv.recover(copy)
    assert keys[0].hex() in report.damage
    assert report.is_complete
    reading = trial.probe.look(copy)
    assert (reading.right, reading.is_sound) == (known.right, True)


@pytest.mark.parametrize("name", ["refs/heads/main", "HEAD", "staging", "refs/tags/v1"])
def test_a_damaged_ref_is_taken_from_the_log(
    known: Whole, trial: Trial, copy: Path, name: str
) -> None:
    change_record(copy, "refs", name.encode(), lambda content, _: content[:10])
    report = tv.recover(copy)
    assert report.damage
    assert report.is_complete, str(report)
    reading = trial.probe.look(copy)
    assert (reading.right, reading.is_sound) == (known.right, True), reading


def test_commits_that_no_ref_names_get_a_branch(copy: Path) -> None:
    """Without refs and without the log, the newest commits are what is left."""
    content = (copy / DATA).read_bytes()
    for name in (b"refs", b"operations"):
        for _, value in list(records_of(copy, name)):
            content = content.replace(value, bytes(len(value)))
    for name in (b"refs/", b"HEAD", b"staging", b"stash/"):
        content = content.replace(name, bytes(len(name)))
    with tv.open(copy) as repo:
        newest = repo.branches["main"].id
    (copy / DATA).write_bytes(content)
    report = tv.recover(copy)
    found = {d.name: d for d in report.refs}
    assert f"refs/heads/recovered/{newest[:12]}" in found
    assert {d.witness for d in report.refs if d.name.startswith("refs/")} == {"commit"}
    with tv.open(copy) as repo:
        assert repo.verify().is_sound


def test_a_second_recovery_keeps_both_damaged_files(known: Whole, copy: Path) -> None:
    for number in (1, 2):
        harm.zero_block(copy / DATA, 0, PAGE)
        assert tv.recover(copy).kept_as == f"lmdb-damaged-{number}"
    assert tv.recover(copy).damage == ""


def test_a_database_that_is_gone_is_no_empty_repository(copy: Path) -> None:
    (copy / ".tensorvcs" / "lmdb").rename(copy / ".tensorvcs" / "moved")
    with pytest.raises(ObjectDamagedError, match="is gone") as caught:
        tv.open(copy)
    assert "tvcs recover" in (caught.value.hint or "")
    with pytest.raises(ObjectDamagedError, match="not one commit left"):
        tv.recover(copy)
    # As a recovery leaves it that was killed where folders cannot be exchanged.
    (copy / ".tensorvcs" / "moved").rename(copy / ".tensorvcs" / "lmdb-damaged-1-old")
    assert tv.recover(copy).damage == ""
    with tv.open(copy) as repo:
        assert repo.verify().is_sound


def test_a_bare_repository(copy: Path, tmp_path: Path) -> None:
    tv.clone(copy, tmp_path / "bare", bare=True).close()
    harm.zero_block(tmp_path / "bare" / "lmdb" / "data.mdb", 0, 2 * PAGE)
    assert tv.recover(tmp_path / "bare").is_complete
    with tv.open(tmp_path / "bare") as repo:
        assert repo.verify().is_sound
        with tv.open(copy) as whole:
            assert repo.branches["main"] == whole.branches["main"]


def test_what_a_partial_clone_lacks_is_not_missed(copy: Path, tmp_path: Path) -> None:
    tv.clone(copy, tmp_path / "part", max_bytes=20_000).close()
    harm.zero_block(tmp_path / "part" / DATA, 0, 2 * PAGE)
    report = tv.recover(tmp_path / "part")
    assert report.is_complete
    assert report.missing.absent_count
    with tv.open(tmp_path / "part") as repo, tv.open(copy) as whole:
        assert repo.is_partial
        ours, theirs = (found.checkout("main")["images"][:] for found in (repo, whole))
        assert (ours == theirs).all()


def test_an_empty_repository(tmp_path: Path) -> None:
    tv.init(tmp_path, "Ada", "ada@example.org").close()
    harm.zero_block(tmp_path / DATA, 0, 2 * PAGE)
    report = tv.recover(tmp_path)
    assert report.is_complete
    assert str(report).startswith("2 of its 2 head pages cannot be read\nrecovered 0 objects")
    with tv.open(tmp_path) as repo:
        assert (repo.head, dict(repo.branches)) == ("main", {})
        assert [operation.user for operation in repo.operations()] == ["Ada <ada@example.org>"]


def test_work_in_progress_is_not_disturbed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_WAIT_SECONDS", 0)
    with tv.open(copy) as repo:
        with repo._leases.work():
            age_older_head(copy / DATA)
            with pytest.raises(WorkInProgressError, match="nothing was recovered"):
                tv.recover(copy)
        with repo._environment.write(), pytest.raises(WorkInProgressError):
            tv.recover(copy)
        assert tv.recover(copy).is_complete
        # Who had it open reads on, and does not write where nobody would look.
        assert repo.checkout("main")["labels"][3] == 3
        with pytest.raises(StateError, match="was replaced"):
            repo.create_branch("late")
    with tv.open(copy) as repo:
        repo.create_branch("late")
    names = [path.name for path in (copy / ".tensorvcs").iterdir()]
    assert not [name for name in names if name.endswith(".new")]


def age_older_head(data: Path) -> None:
    """Do harm that LMDB does not look at: the head before the newest is of long ago."""
    content = bytearray(data.read_bytes())
    transactions = [struct.unpack_from("<Q", content, head * PAGE + 144)[0] for head in (0, 1)]
    older = transactions.index(min(transactions))
    struct.pack_into("<Q", content, older * PAGE + 144, transactions[older] - 2)
    data.write_bytes(content)


def test_small_batches_give_the_same(
    known: Whole, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmdb_recovery, "_BATCH_NBYTES", 1)
    harm.zero_block(copy / DATA, 0, 2 * PAGE)
    assert tv.recover(copy).is_complete
    assert live_digests(copy) >= set(known.pages_of)
