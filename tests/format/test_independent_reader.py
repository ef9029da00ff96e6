"""FORMAT.md is enough: a reader without our code finds every value, now and in what was frozen."""

from __future__ import annotations

import ast
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import ObjectDamagedError, UnsupportedFormatError
from tensorvcs.storage.format_file import FORMAT_VERSION, check_of
from tests.format import every_kind, independent_reader
from tests.format.every_kind import first_content, same, second_content
from tests.format.independent_reader import Reader, document, format_of

FROZEN = sorted(Path(__file__).parent.glob("version_*.tar.xz"))
# Ids of commits are a promise: they depend on nothing but content.
COMMITS = {
    1: {
        "first": "0273d5079fff456ff151a4cb5d2cfb2baa6c0a1dcf99f492d77f0ad69451cc1d",
        "second": "ef2e1aa3fe04fb4670372581c12df65457a6edfffa0bb216df5f021675136cb8",
        "side": "3e38881faadbc7b6c2e62850522e1cd15a2165d86c418bce657391d1c84b0d4c",
        "main": "46a3e5401055ab227e92cb904251bd5eb3b9e0b44c2ac2331d4100c9d8553703",
    },
}


def as_read(content: dict[str, dict[Any, Any]]) -> dict[str, dict[Any, Any]]:
    """Return values as the independent reader gives them."""
    return {
        name: {key: plain(value) for key, value in column.items()}
        for name, column in content.items()
    }


def plain(value: Any) -> independent_reader.Value:
    if isinstance(value, str):
        return "str", "", (), value.encode()
    if isinstance(value, bytes):
        return "bytes", "", (), value
    array = np.asarray(value)
    return "ndarray", array.dtype.name, array.shape, array.tobytes()


def flat(columns: Any) -> dict[str, dict[Any, Any]]:
    """Return columns of the library, nested ones by pairs."""
    found: dict[str, dict[Any, Any]] = {}
    for name, column in columns.items():
        if column.schema.nested:
            found[name] = {(s, k): v for s in column for k, v in column[s].items()}
        else:
            found[name] = dict(column.items())
    return found


def check_content(found: dict[str, dict[Any, Any]], expected: dict[str, dict[Any, Any]]) -> None:
    assert list(found) == sorted(expected)
    for name, column in expected.items():
        assert found[name].keys() == column.keys(), name
        for key, value in column.items():
            assert same(found[name][key], value), (name, key)


def merged_content() -> dict[str, dict[Any, Any]]:
    content = second_content()
    content["labels"]["side"] = np.array(1, "<i8")
    return content


def test_the_reader_knows_nothing_of_the_library() -> None:
    tree = ast.parse(Path(independent_reader.__file__).read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    known = {"blake3", "blosc", "h5py", "lmdb", "numpy", "xxhash"}
    assert imported - set(sys.stdlib_module_names) == known


@pytest.mark.parametrize("is_packed", [False, True])
def test_it_reads_every_kind_of_column(tmp_path: Path, is_packed: bool) -> None:
    every_kind.make(tmp_path / "made", is_packed=is_packed).close()
    reader = Reader(tmp_path / "made" / ".tensorvcs")
    assert bool(reader.packs) is is_packed
    assert len(reader.databases["loose"]) == (1 if is_packed else 104)
    paths = {fields["path"] for pack in reader.packs for fields in pack.datasets}
    if is_packed:
        assert {"/int16/30x40.blosc", "/uint8/12x10x3", "/uint8/3d", "/float64/1d.blosc"} <= paths
    check_history(reader, 1)


@pytest.mark.parametrize("name", ["format.json", "format-copy.json"])
@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_it_reads_by_one_of_the_format_files(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    tv.init(tmp_path, bare=True).close()
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert Reader(tmp_path).refs() == {"HEAD": "ref refs/heads/main"}


@pytest.mark.parametrize("change", [{"version": 2}, {"features": ["shards"]}, {"bare": True}])
def test_it_relies_on_none_whose_checksum_is_wrong(tmp_path: Path, change: dict[str, Any]) -> None:
    tv.init(tmp_path).close()
    root = tmp_path / ".tensorvcs"
    content = (root / "format.json").read_text()
    changed = json.dumps(json.loads(content) | change)
    (root / "format.json").write_text(changed)
    assert format_of(root) == json.loads(content)
    (root / "format-copy.json").write_text(changed)
    with pytest.raises(AssertionError):
        format_of(root)


@pytest.mark.parametrize("file", FROZEN, ids=lambda file: file.name)
def test_it_reads_what_was_frozen(tmp_path: Path, file: Path) -> None:
    check_history(Reader(thawed(file, tmp_path) / ".tensorvcs"), version_of(file))


def check_history(reader: Reader, version: int) -> None:
    """Compare the repository of `every_kind` with its formulas."""
    assert reader.refs()["HEAD"] == "ref refs/heads/main"
    golden = COMMITS[version]
    assert {name: reader.branch_commit(name) for name in ("main", "side")} == {
        name: golden[name] for name in ("main", "side")
    }
    assert reader.tag_commit("plain") == golden["first"]
    assert reader.tag_commit("annotated") == golden["second"]
    merge = reader.commit(golden["main"])
    assert merge["parents"] == [golden["second"], golden["side"]]
    assert merge["generation"] == 2
    assert reader.commit(golden["first"])["metadata"] == {"source": "formulas"}
    assert reader.at_commit(golden["first"]) == as_read(first_content())
    assert reader.at_commit(golden["second"]) == as_read(second_content())
    assert reader.at_commit(golden["main"]) == as_read(merged_content())
    stash = document(reader.databases["refs"][b"stash/1"], "stash 1")
    stashed = reader.snapshot(stash["snapshot"])["labels"]["stashed"]
    assert stashed == plain(np.array(1, "<i8"))
    staging = json.loads(reader.refs()["staging"])
    assert staging["base"] == golden["main"]
    assert reader.snapshot(staging["snapshot"])["labels"]["staged"] == plain(np.array(2, "<i8"))
    # What is replayed from the operation log is what is there.
    replayed: dict[str, str | None] = {"HEAD": "ref refs/heads/main"}
    for operation in reader.operations():
        for name, before, after in operation["changes"]:
            assert replayed.get(name) == before
            replayed[name] = after
    assert {name: value for name, value in replayed.items() if value} == reader.refs()


@pytest.mark.parametrize("file", FROZEN, ids=lambda file: file.name)
def test_what_was_frozen_is_read_and_goes_on(tmp_path: Path, file: Path) -> None:
    golden = COMMITS[version_of(file)]
    with tv.open(thawed(file, tmp_path)) as repo:
        assert repo.verify().is_sound
        assert {name: commit.id for name, commit in repo.branches.items()} == {
            name: golden[name] for name in ("main", "side")
        }
        check_content(flat(repo.checkout("plain").columns), first_content())
        check_content(flat(repo.checkout("annotated").columns), second_content())
        check_content(flat(repo.checkout().columns), merged_content())
        assert repo.config["user.name"] == "Ada \xc9"
        assert repo.tag_message("annotated") == "what it is"
        assert [stash.message for stash in repo.stashes] == ["for later"]
        with repo.edit() as co:
            assert int(co["labels"]["staged"]) == 2
            co["labels"]["now"] = 3
            co.commit("goes on")
        repo.repack()
        assert repo.verify().is_sound
        check_content(flat(repo.checkout("annotated").columns), second_content())


@pytest.mark.parametrize("file", FROZEN, ids=lambda file: file.name)
def test_what_was_frozen_without_a_checksum_gets_one_by_repair(tmp_path: Path, file: Path) -> None:
    folder = thawed(file, tmp_path)
    root = folder / ".tensorvcs"
    is_old = not (root / "format-copy.json").exists()
    with tv.open(folder) as repo:
        assert repo.verify().is_sound
        report = repo.verify(repair=True)
        assert report.is_sound
        assert report.repair is not None
        assert report.repair.files == (["format-copy.json", "format.json"] if is_old else [])
    assert (root / "format-copy.json").read_bytes() == (root / "format.json").read_bytes()
    check_history(Reader(root), version_of(file))


def test_a_version_is_frozen_for_each_format() -> None:
    assert [version_of(file) for file in FROZEN] == list(range(1, FORMAT_VERSION + 1))
    assert sum(file.stat().st_size for file in FROZEN) < 300_000 * FORMAT_VERSION


def test_the_library_still_gives_the_same_commits(tmp_path: Path) -> None:
    with every_kind.make(tmp_path / "made") as repo:
        assert repo.resolve("main").id == COMMITS[FORMAT_VERSION]["main"]


def test_a_frozen_repository_is_never_written_again() -> None:
    with pytest.raises(SystemExit, match="never written again"):
        every_kind.freeze(FROZEN[0])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "has format version 2; this TensorVCS knows versions up to 1"),
        ({"version": 10**30}, "has format version 1000"),
        ({"features": ["shards"]}, "uses features this TensorVCS does not know: shards"),
    ],
)
def test_an_older_reader_refuses_what_it_does_not_know(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    tv.init(tmp_path / "repo").close()
    change_format(tmp_path / "repo", change)
    with pytest.raises(UnsupportedFormatError, match=told) as caught:
        tv.open(tmp_path / "repo")
    assert caught.value.hint == "install a newer TensorVCS: pip install -U tensorvcs"
    # Neither can it be cloned from, nor pushed to.
    with pytest.raises(UnsupportedFormatError, match=told):
        tv.clone(tmp_path / "repo", tmp_path / "copy")


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": "1"},
        {"version": True},
        {"version": 1.0},
        {"features": "shards"},
        {"features": [1, None]},
        {"features": None},
    ],
    ids=str,
)
def test_a_format_file_that_makes_no_sense(tmp_path: Path, change: dict[str, Any]) -> None:
    tv.init(tmp_path / "repo").close()
    change_format(tmp_path / "repo", change)
    with pytest.raises(ObjectDamagedError, match="format file"):
        tv.open(tmp_path / "repo")


def change_format(folder: Path, change: dict[str, Any]) -> None:
    fields = json.loads((folder / ".tensorvcs" / "format.json").read_text()) | change
    fields["crc32"] = check_of(fields)
    for name in ("format.json", "format-copy.json"):
        (folder / ".tensorvcs" / name).write_text(json.dumps(fields))


def version_of(file: Path) -> int:
    return int(file.name.split(".")[0].removeprefix("version_"))


def thawed(file: Path, folder: Path) -> Path:
    with tarfile.open(file) as tar:
        tar.extractall(folder, filter="data")
    return folder / "repository"
