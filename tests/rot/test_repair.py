"""What is damaged is named by branch, column and sample, and mended from a remote that has it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from benchmarks.trust import harm
from benchmarks.trust.experiments import change_record
from benchmarks.trust.probe import look
from benchmarks.trust.tally import Reading
from tensorvcs.errors import (
    CorruptionError,
    InvalidInputError,
    ObjectNotFoundError,
    RemoteError,
    RepositoryNotFoundError,
    SlabChecksumError,
    TensorVCSError,
)
from tensorvcs.history.refs import ref_digest
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.storage import pack_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.trust.tiny import Tiny


@pytest.fixture
def damaged(whole: Tiny, tmp_path: Path) -> Path:
    """A copy to be damaged; the whole one is where it is repaired from."""
    return shutil.copytree(whole.path, tmp_path / "damaged")


def pack_in(path: Path, whole: Tiny, name: str) -> Path:
    return path / whole.packs[name].relative_to(whole.path)


def object_of(path: Path, kind: str) -> bytes:
    """Return the digest of a commit, snapshot, node or tag that main reaches."""
    with tv.open(path) as repo:
        branch = "main" if "main" in repo.branches else "origin/main"
        head = repo.resolve(branch)
        if kind == "commit":
            return bytes.fromhex(head.parents[0])
        if kind == "snapshot":
            return bytes.fromhex(head.snapshot)
        if kind == "tag":
            return ref_digest(repo._stores.refs.get("refs/tags/v1") or b"")
        root = read_snapshot(repo._objects, head.object.snapshot)["images"].tree.ints
        assert root is not None
        return root.digest


def change_object(path: Path, kind: str, change: Callable[[bytes, bytes], bytes | None]) -> None:
    change_record(path, "objects", object_of(path, kind), change)


def flip_each_block(*paths: Path) -> None:
    for path in paths:
        for at in range(100, path.stat().st_size, 4000):
            harm.flip_bit(path, at)


DAMAGES: dict[str, Callable[[Path, Tiny], object]] = {
    "rows": lambda path, whole: harm.flip_bit(pack_in(path, whole, "rows"), 40_000),
    "compressed rows": lambda path, whole: flip_each_block(pack_in(path, whole, "compressed")),
    "frames": lambda path, whole: flip_each_block(pack_in(path, whole, "frames")),
    "cut pack": lambda path, whole: harm.truncate(pack_in(path, whole, "rows"), 50_000),
    "deleted pack": lambda path, whole: pack_in(path, whole, "frames").unlink(),
    "swapped packs": lambda path, whole: harm.swap(
        pack_in(path, whole, "rows"), pack_in(path, whole, "frames")
    ),
    "every pack": lambda path, whole: flip_each_block(
        *(pack_in(path, whole, name) for name in whole.packs)
    ),
}
for _kind in ("commit", "snapshot", "node", "tag"):
    DAMAGES[f"{_kind} changed"] = lambda path, whole, kind=_kind: change_object(  # type: ignore[misc]
        path, kind, lambda content, _: content + b" "
    )
    DAMAGES[f"{_kind} gone"] = lambda path, whole, kind=_kind: change_object(  # type: ignore[misc]
        path, kind, lambda content, _: None
    )


@pytest.mark.parametrize("damage", DAMAGES)
def test_all_is_mended_from_a_repository_that_has_it(
    whole: Tiny, damaged: Path, damage: str
) -> None:
    DAMAGES[damage](damaged, whole)
    with tv.open(damaged) as repo:
        before = repo.verify()
        assert not before.is_sound
        assert before.repair is None
        report = repo.verify(repair_from=str(whole.path))
        assert report.is_sound, str(report)
        assert report.repair is not None
        assert report.repair.value_count + report.repair.object_count + len(report.repair.packs)
        assert report.touched == []
        assert str(report).startswith("sound: ")
        assert f"mended from {whole.path}: " in str(report)
        again = repo.verify(repair_from=str(whole.path))
        assert again.repair == tv.Repair(str(whole.path))
    reading = look(damaged)
    assert reading == Reading(right=reading.right, is_sound=True, is_opened=True)


def test_loose_values_are_mended(whole: Tiny, damaged: Path) -> None:
    import lmdb

    environment = lmdb.open(str(damaged / ".tensorvcs" / "lmdb"), max_dbs=16)
    with environment.begin(environment.open_db(b"loose"), write=True) as txn:
        keys = [bytes(key) for key, _ in txn.cursor()]
        txn.put(keys[0], b"garbage")
        txn.delete(keys[1])
    environment.close()
    with tv.open(damaged) as repo:
        before = repo.verify()
        assert sum(t.sample_count for t in before.touched) >= 2
        report = repo.verify(repair_from=str(whole.path))
        assert report.is_sound, str(report)
        assert report.repair is not None
        assert report.repair.value_count == 2


def test_the_samples_of_each_branch_are_named(whole: Tiny, damaged: Path) -> None:
    flip_each_block(pack_in(damaged, whole, "compressed"))
    with tv.open(damaged) as repo:
        report = repo.verify()
        by_version = {t.version: t for t in report.touched}
        assert {"refs/heads/main", "refs/heads/side", "refs/tags/v1", "staging area"} <= set(
            by_version
        )
        main = by_version["refs/heads/main"]
        assert (main.column, main.sample_count) == ("masks", 64)
        assert main.keys == list(range(20))
        assert "refs/heads/main, column 'masks': 64 samples: 0, 1, 2" in str(report)
        assert str(main).endswith(" and 44 more")


def test_nested_samples_and_texts_are_named(whole: Tiny, damaged: Path) -> None:
    pack_in(damaged, whole, "frames").unlink()
    with tv.open(damaged) as repo:
        touched = {t.column: t for t in repo.verify().touched if t.version == "refs/heads/side"}
        assert set(touched) == {"texts", "clouds", "scans"}
        assert touched["scans"].keys[0] == ("scan-3", "slice-0")
        assert touched["texts"].keys[0] == "t0"


def test_what_only_older_versions_have_is_named_by_commit(tmp_path: Path) -> None:
    with tv.init(tmp_path, "Ada", "ada@example.org") as repo:
        with repo.edit() as co:
            co.add_bytes_column("blobs").update({i: bytes([i]) * 40_000 for i in range(30)})
            first = co.commit("First")
            co["blobs"][7] = b"new"
            co.commit("Second")
            co["blobs"][8] = b"new as well"
            co.commit("Third")
        (pack,) = (tmp_path / ".tensorvcs" / "packs").glob("*.h5")
        pack.unlink()
        pack_folder._MAPPED.clear()
        repo.add_remote("nowhere", str(tmp_path / "nowhere"))
    with tv.open(tmp_path) as repo:
        for i in range(30):
            # All but what the first commit alone has are written again.
            if i not in (7, 8):
                with repo.edit() as co:
                    co["blobs"][i + 100] = bytes([i]) * 40_000
        report = repo.verify()
        assert not report.is_sound
        assert [(t.version, t.keys) for t in report.touched][-1] == (
            f"commit {first.id[:12]} of refs/heads/main",
            [7, 8],
        )


def test_one_revision_is_checked_with_its_values(whole: Tiny, damaged: Path) -> None:
    flip_each_block(pack_in(damaged, whole, "compressed"))
    with tv.open(damaged) as repo:
        report = repo.verify("v1")
        assert not report.is_sound
        assert {t.column for t in report.touched} == {"masks"}
        assert report.value_count > 100
        first = list(repo.log("v1"))[-1]
        assert repo.verify(first.id).is_sound


def test_what_no_remote_has_stays_named_and_the_rest_is_mended(
    whole: Tiny, damaged: Path, tmp_path: Path
) -> None:
    poor = shutil.copytree(whole.path, tmp_path / "poor")
    pack_in(poor, whole, "compressed").unlink()
    for name in ("rows", "compressed"):
        flip_each_block(pack_in(damaged, whole, name))
    with tv.open(damaged) as repo:
        report = repo.verify(repair_from=str(poor))
        assert not report.is_sound
        assert {t.column for t in report.touched} == {"masks"}
        with repo.checkout("main") as co:
            assert len(co["images"][:]) == 64
            with pytest.raises(SlabChecksumError, match=pack_in(poor, whole, "compressed").name):
                co["masks"][3]
        assert repo.verify(repair_from=str(whole.path)).is_sound


def test_a_repair_from_a_damaged_repository_takes_what_is_whole(
    whole: Tiny, damaged: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(whole.path, tmp_path / "other")
    flipped = pack_in(other, whole, "frames")
    harm.flip_bit(flipped, flipped.stat().st_size // 3)
    pack_in(damaged, whole, "frames").unlink()
    with tv.open(other) as repo:
        lost = {(t.column, tuple(t.keys)) for t in repo.verify("side").touched}
    with tv.open(damaged) as repo:
        report = repo.verify(repair_from=str(other))
        assert report.repair is not None
        assert report.repair.value_count > 0
        found = {(t.column, tuple(t.keys)) for t in report.touched if "side" in t.version}
        assert found == lost


def test_refs_that_were_moved_or_lost_are_told(damaged: Path) -> None:
    change_record(damaged, "refs", b"refs/heads/main", lambda _, other: other)
    change_record(damaged, "refs", b"refs/heads/side", lambda *_: None)
    with tv.open(damaged) as repo:
        problems = {where: str(problem) for where, problem in repo.verify().problems}
        assert "the operation log left it 'commit " in problems["refs/heads/main"]
        assert problems["refs/heads/side"].startswith("it is absent, and the operation log")


def test_a_repository_is_read_without_its_settings(damaged: Path) -> None:
    (damaged / ".tensorvcs" / "config.json").write_bytes(b"{")
    with tv.open(damaged) as repo:
        assert len(repo.checkout("main")["images"]) == 64
        with pytest.raises(CorruptionError, match=r"config\.json"):
            repr(repo.config)
        assert [where for where, _ in repo.verify().problems] == ["settings or HEAD"]


FORMAT_HARMS: dict[str, Callable[[Path], object]] = {
    "a bit": lambda file: harm.flip_bit(file, 40, 1),
    "cut": lambda file: harm.truncate(file, 30),
    "empty": lambda file: harm.truncate(file, 0),
    "zeros": lambda file: harm.zero_block(file, 0),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("name", ["format.json", "format-copy.json"])
@pytest.mark.parametrize("damage", FORMAT_HARMS)
def test_the_format_file_is_told_and_mended_without_a_remote(
    whole: Tiny, damaged: Path, name: str, damage: str
) -> None:
    file = damaged / ".tensorvcs" / name
    content = file.read_bytes()
    FORMAT_HARMS[damage](file)
    reading = look(damaged)
    assert reading == Reading(right=reading.right, is_sound=False, is_opened=True)
    assert reading.right == look(whole.path).right
    with tv.open(damaged) as repo:
        before = repo.verify()
        assert [where for where, _ in before.problems] == [name]
        assert before.touched == []
        with pytest.raises(InvalidInputError):
            repo.verify("main", repair=True)
        report = repo.verify(repair=True)
        assert report.is_sound, str(report)
        assert report.repair == tv.Repair("", files=[name])
        assert f"mended here: written anew from their copies: {name}" in str(report)
        again = repo.verify(repair=True)
        assert again.repair == tv.Repair("")
        assert "mended here: nothing" in str(again)
    assert file.read_bytes() == content
    assert look(damaged) == look(whole.path)


def test_a_repair_from_a_remote_mends_the_format_file_as_well(whole: Tiny, damaged: Path) -> None:
    FORMAT_HARMS["gone"](damaged / ".tensorvcs" / "format.json")
    DAMAGES["commit gone"](damaged, whole)
    with tv.open(damaged) as repo:
        half = repo.verify(repair=True)
        assert not half.is_sound
        FORMAT_HARMS["cut"](damaged / ".tensorvcs" / "format-copy.json")
        report = repo.verify(repair_from=str(whole.path))
        assert report.is_sound, str(report)
        assert report.repair is not None
        assert report.repair.files == ["format-copy.json"]
        assert report.repair.object_count


def test_both_format_files_lost_while_it_is_open_are_told(damaged: Path) -> None:
    with tv.open(damaged) as repo:
        for name in ("format.json", "format-copy.json"):
            FORMAT_HARMS["zeros"](damaged / ".tensorvcs" / name)
        report = repo.verify(repair=True)
        assert report.repair == tv.Repair("")
        assert {where for where, _ in report.problems} == {"format.json", "format-copy.json"}
    with pytest.raises(CorruptionError, match=r"format\.json .*format-copy\.json"):
        tv.open(damaged)


def test_a_flipped_bit_in_the_settings_sends_nothing_elsewhere(damaged: Path) -> None:
    with tv.open(damaged) as repo:
        repo.add_remote("backup", "https://data.example.org/pets")
    file = damaged / ".tensorvcs" / "config.json"
    harm.flip_bit(file, file.read_bytes().index(b"example.org"))
    with tv.open(damaged) as repo:
        with pytest.raises(CorruptionError, match=r"config\.json was damaged"):
            repo.push("backup")
        with pytest.raises(CorruptionError):
            repo.set_config("a.b", "c")
        ((where, problem),) = repo.verify().problems
        assert where == "settings or HEAD"
        assert problem.hint is not None
        assert "remove the line of 'crc32'" in problem.hint


def clone_of(whole: Tiny, path: Path, **options: Any) -> Path:
    """Make a clone whose values are in packs."""
    with tv.clone(whole.path, path, **options) as repo:
        repo.repack()
    pack_folder._MAPPED.clear()
    assert packs_of(path)
    return path


def packs_of(path: Path) -> list[Path]:
    return sorted((path / ".tensorvcs" / "packs").glob("*.h5"))


@pytest.mark.parametrize("how", ["a bit", "bits everywhere", "cut", "gone"])
def test_reads_of_a_clone_mend_themselves(whole: Tiny, tmp_path: Path, how: str) -> None:
    path = clone_of(whole, tmp_path / "clone")
    for pack in packs_of(path):
        if how == "a bit":
            harm.flip_bit(pack, pack.stat().st_size // 3)
        elif how == "bits everywhere":
            flip_each_block(pack)
        elif how == "cut":
            harm.truncate(pack, pack.stat().st_size // 2)
        else:
            pack.unlink()
    change_object(path, "node", lambda content, _: content + b" ")
    with tv.open(path) as repo:
        assert not repo.verify().is_sound
    with tv.open(path) as repo, tv.open(whole.path) as source:
        for name, column in repo.checkout("origin/main").columns.items():
            wanted = source.checkout("main")[name]
            for key in column:
                if name == "scans":
                    assert np.array_equal(column[key]["slice-1"], wanted[key]["slice-1"])
                else:
                    assert np.array_equal(column[key], wanted[key])
        # What no read has met is left: HDF5's own structure, and what nobody knows the names of.
        assert repo.verify(repair_from="origin").is_sound


def test_batches_of_a_clone_mend_themselves_in_a_worker(whole: Tiny, tmp_path: Path) -> None:
    import pickle

    path = clone_of(whole, tmp_path / "clone")
    with tv.open(path) as repo, tv.open(whole.path) as source:
        wanted = source.checkout("v1")["images"].read(np.arange(64))
        checkout = pickle.loads(pickle.dumps(repo.checkout("v1")))
        for pack in packs_of(path):
            flip_each_block(pack)
        assert np.array_equal(checkout["images"].read(np.arange(64)), wanted)


def test_without_the_remote_a_read_says_what_is_damaged(
    whole: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = shutil.copytree(whole.path, tmp_path / "source")
    path = tmp_path / "clone"
    with tv.clone(source, path) as repo:
        repo.repack()
    pack_folder._MAPPED.clear()
    shutil.rmtree(source)
    for pack in packs_of(path):
        flip_each_block(pack)
    with tv.open(path) as repo:
        co = repo.checkout("origin/main")
        with pytest.raises(CorruptionError, match=r"pack \w+\.h5"):
            [co[name][:] for name in ("images", "masks", "clouds")]
        assert "remote 'origin' cannot help with damaged values" in caplog.text
        with pytest.raises(RepositoryNotFoundError):
            repo.verify(repair_from="origin")


def test_a_partial_clone_is_mended_with_what_it_had(whole: Tiny, tmp_path: Path) -> None:
    path = clone_of(whole, tmp_path / "clone", columns=["images", "labels"], lazy=False)
    with tv.open(path) as repo:
        count = repo.stats().packs.value_count
    for pack in packs_of(path):
        flip_each_block(pack)
    with tv.open(path) as repo:
        report = repo.verify(repair_from="origin")
        assert report.is_sound, str(report)
        assert report.absent_count > 0
        assert repo.stats().packs.value_count == count
        with pytest.raises(ObjectNotFoundError):
            repo.checkout("origin/main")["masks"][:]


def test_what_is_asked_for_wrongly(whole: Tiny, damaged: Path, tmp_path: Path) -> None:
    with tv.open(damaged) as repo:
        with pytest.raises(InvalidInputError):
            repo.verify("main", repair_from=str(whole.path))
        with pytest.raises(RepositoryNotFoundError):
            repo.verify(repair_from=str(tmp_path))
        with pytest.raises((RemoteError, TensorVCSError)):
            repo.verify(repair_from="nosuch://place")
        assert repo.verify().is_sound
