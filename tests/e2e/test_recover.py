"""``tvcs recover``."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from benchmarks.trust import harm
from tensorvcs.storage.lock import StagingLock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.shell import Shell

PAGE = 4096


def database_of(shell: Shell) -> Path:
    return shell.folder / ".tensorvcs" / "lmdb" / "data.mdb"


def two_commits(shell: Shell) -> tuple[str, str]:
    first = shell.commit({"a": 1}, "First")
    shell.ok("tag", "v1")
    second = shell.commit({"a": 2, "b": 3}, "Second")
    return first, second


def test_what_cannot_be_opened_names_the_command_that_mends_it(shell: Shell) -> None:
    _, second = two_commits(shell)
    log = shell.ok("log")
    harm.zero_block(database_of(shell), 0, 2 * PAGE)
    assert "Hint: run 'tvcs recover'" in shell.fails("log")
    told = shell.ok("recover", "--dry-run")
    assert told.startswith("Damaged: 2 of its 2 head pages cannot be read\nWould recover ")
    assert "Hint: run 'tvcs recover'" in shell.fails("log")
    lines = shell.ok("recover").splitlines()
    assert lines[1].startswith("Recovered ")
    assert any(
        line.startswith(f"  refs/heads/main is at {second}") and "(operation log)" in line
        for line in lines
    )
    assert lines[-1] == "The damaged file is kept in lmdb-damaged-1"
    assert shell.ok("log") == log
    assert shell.ok("verify").startswith("Sound: 2 commits")
    newest = shell.json("op", "log")[0]
    assert newest["command"] == "recover"
    third = shell.commit({"c": 4}, "Third")
    assert third in shell.ok("log", "--oneline")
    assert shell.ok("recover") == "Sound: nothing to recover\n"


def test_a_sound_database_is_left_as_it_is(shell: Shell) -> None:
    two_commits(shell)
    before = database_of(shell).read_bytes()
    document = shell.json("recover")
    assert document["damage"] is None
    assert document["kept_as"] is None
    assert document["is_complete"]
    assert database_of(shell).read_bytes() == before


def test_what_is_lost_is_named_and_comes_back_from_a_remote(shell: Shell) -> None:
    first, second = two_commits(shell)
    backup = shutil.copytree(shell.folder, shell.folder.parent / "backup")
    content = bytearray(database_of(shell).read_bytes())
    second_id = shell.id("main").encode()
    with shell.repository() as repo:
        commit = repo._objects.get([bytes.fromhex(second_id.decode())])[0]
    assert commit in content
    database_of(shell).write_bytes(bytes(content).replace(commit, bytes(len(commit))))
    result = shell.run("recover", "--json")
    assert result.code == 1
    document = result.document
    refs = {found["name"]: found for found in document["refs"]}
    assert refs["refs/heads/main"]["problem"] == "that commit is lost"
    assert refs["refs/heads/main"]["value"] == f"commit {second_id.decode()}"
    assert refs["refs/heads/recovered/main"]["value"].startswith(f"commit {first}")
    assert document["problem_count"] == 1
    assert "tvcs verify --repair-from REMOTE" in result.stderr
    shell.ok("verify", "--repair-from", str(backup))
    assert shell.short("main") == second


def test_nothing_is_done_while_somebody_edits(shell: Shell) -> None:
    two_commits(shell)
    harm.zero_block(database_of(shell), 0, 2 * PAGE)
    with StagingLock(shell.folder / ".tensorvcs" / "staging.lock"):
        assert "is being edited by" in shell.fails("recover")
    shell.ok("recover")


def test_a_file_without_a_commit_is_not_replaced(shell: Shell) -> None:
    two_commits(shell)
    (shell.folder / ".tensorvcs" / "packs" / f"{bytes(16).hex()}.h5").write_bytes(b"?")
    harm.zero_block(database_of(shell), 0, database_of(shell).stat().st_size)
    told = shell.fails("recover")
    assert "has not one commit left" in told
    assert "from a backup" in told
    assert not (shell.folder / ".tensorvcs" / "lmdb-damaged-1").exists()


def test_outside_of_a_repository(bare_shell: Shell) -> None:
    assert "no repository at" in bare_shell.fails("recover")
    assert "there is no folder" in bare_shell.fails("-C", "nowhere", "recover")
