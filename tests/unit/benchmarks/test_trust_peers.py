"""The program that runs in the interpreter of each peer, with the store that is here."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.trust import compared, harm, peers, systems
from benchmarks.trust.peers import program, rows, tensorvcs_rows
from benchmarks.trust.systems import SYSTEMS, Looking, Writing


@pytest.fixture
def store(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    path = tmp_path / "store"
    tensorvcs_rows.create(path)
    writer = tensorvcs_rows.Writer(path, 0)
    acks = []
    for number in range(2):
        keys = rows.keys_of_commit(0, number)
        version = writer.commit({key: rows.row_of(key) for key in keys})
        acks.append({"keys": keys, "version": version})
    return path, acks


def test_a_look_finds_every_row_in_the_newest_version_and_in_its_own(
    store: tuple[Path, list[dict[str, Any]]],
) -> None:
    found = program.look(tensorvcs_rows, *store)
    assert found["right"] == 2 * (rows.FIRST_COUNT + 1)
    assert not (found["wrong"] or found["missing"] or found["errors"])


def test_a_look_finds_what_is_missing_and_what_is_another(
    store: tuple[Path, list[dict[str, Any]]],
) -> None:
    path, acks = store
    lost = {"keys": ["5-0000"], "version": acks[0]["version"]}
    tensorvcs_rows.Writer(path, 0).commit({"0-0000": rows.row_of("0-0001")})
    found = program.look(tensorvcs_rows, path, [*acks, lost])
    assert found["missing"] == 2
    assert found["wrong"] == 1


def test_a_look_counts_errors(store: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    # A copy, since this process has the packs of the other open.
    path, acks = shutil.copytree(store[0], tmp_path / "copy"), store[1]
    for pack in path.glob(tensorvcs_rows.TENSORS[0]):
        pack.unlink()
    found = program.look(tensorvcs_rows, path, acks)
    assert sum(found["errors"].values()) == 2 * rows.FIRST_COUNT
    assert found["right"] == 2


def test_rows_differ_and_hold_no_zero() -> None:
    keys = [rows.key_of(writer, place) for writer in range(2) for place in range(8)]
    assert len({rows.row_of(key).tobytes() for key in keys}) == len(keys)
    assert all(rows.row_of(key).all() for key in keys)
    assert len({rows.place_of(key) for key in keys}) == len(keys)


def test_rows_go_to_their_places_in_runs() -> None:
    keys = ["0-0003", "1-0000", "0-0004", "0-0006"]
    found = list(rows.runs_of({key: rows.row_of(key) for key in keys}))
    assert [places for places, _ in found] == [slice(3, 5), slice(6, 7), slice(4096, 4097)]
    assert (found[0][1][1] == rows.row_of("0-0004")).all()


def test_a_process_writes_and_another_looks(tmp_path: Path) -> None:
    ours = SYSTEMS[0]
    path = tmp_path / "store"
    ours.run("create", path)
    writing = Writing.begin(ours, path, count=2)
    writing.go()
    writing.finish()
    assert (len(writing.acks), writing.failure, writing.status) == (2, "", 0)
    with Looking(ours) as looking:
        assert looking.look(path, writing.acks).right == 2 * (rows.FIRST_COUNT + 1)
        # Each look is on its own: what the first one saw is not remembered.
        for pack in path.glob(tensorvcs_rows.TENSORS[0]):
            pack.unlink()
        assert looking.look(path, writing.acks).errors


def test_a_system_is_asked_to_mend_its_store(tmp_path: Path) -> None:
    ours = SYSTEMS[0]
    path = tmp_path / "store"
    ours.run("create", path)
    writing = Writing.begin(ours, path, count=2)
    writing.go()
    writing.finish()
    harm.zero_block(path / ".tensorvcs" / "lmdb" / "data.mdb", 0, 2 * 4096)
    with Looking(ours) as looking:
        reading = looking.look(path, writing.acks)
        assert reading.errors
        assert not reading.right
        mended = looking.look(path, writing.acks, mends=True)
        assert (mended.right, mended.errors) == (2 * (rows.FIRST_COUNT + 1), {})


def test_a_system_that_is_not_installed_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(systems, "python_of", lambda _: None)
    (lance,) = (system for system in SYSTEMS if system.name == "Lance")
    (outcome,) = compared.run(tmp_path, [lance], ["sigkill"], run_count=1)
    assert outcome.absence == "not installed: python -m benchmarks.trust.environments lance"
    assert outcome.cell == "–"


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_each_module_has_what_the_program_calls(system: systems.System) -> None:
    (folder,) = peers.__path__
    tree = ast.parse((Path(folder) / f"{system.module}.py").read_text())
    names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.add(node.targets[0].id)
        if isinstance(node, ast.ImportFrom):
            names.update(alias.name for alias in node.names)
    assert {"version", "create", "Writer", "Reader", "TENSORS"} <= names


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="one Python is enough")
@pytest.mark.parametrize("name", ["program", "rows", "hangar_rows", "__init__"])
def test_what_hangar_runs_is_python_3_8(name: str) -> None:
    (folder,) = peers.__path__
    ast.parse((Path(folder) / f"{name}.py").read_text(), feature_version=(3, 8))
