"""``tvcs verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def store(shell: Shell) -> None:
    """Commit two megabytes, which make a pack."""
    arrays = np.random.default_rng(0).integers(0, 255, (64, 32768), np.uint8)
    with shell.repository() as repo, repo.edit() as staging:
        staging.add_ndarray_column("images", (32768,), "uint8").extend(arrays)
        staging.commit("First")


def test_sound(shell: Shell) -> None:
    assert shell.ok("verify") == "Sound: 0 commits, 0 nodes, 0 values\n"
    store(shell)
    document = shell.json("verify")
    assert document["is_sound"]
    assert (document["commit_count"], document["value_count"]) == (1, 64)
    assert document["problems"] == []
    assert shell.ok("verify", "HEAD").startswith("Sound: 1 commit, ")


def test_a_flipped_bit(shell: Shell) -> None:
    store(shell)
    (pack,) = (shell.folder / ".tensorvcs" / "packs").rglob("*.h5")
    pack.chmod(0o644)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    result = shell.run("verify")
    assert result.code == 1
    assert result.stdout
    assert result.stderr.startswith("Error: 1 problem in 1 commit, ")
    assert "\nHint: keep a copy of the repository" in result.stderr
    result = shell.run("verify", "--json")
    assert result.code == 1
    assert not result.document["is_sound"]
    assert len(result.document["problems"]) == 1


def test_no_such_revision(shell: Shell) -> None:
    assert shell.fails("verify", "nope").startswith("Error: no branch, tag or commit is called")
