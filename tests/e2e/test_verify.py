"""``tvcs verify``."""

from __future__ import annotations

import shutil
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


def test_what_is_touched_is_named_and_mended_from_a_remote(shell: Shell) -> None:
    store(shell)
    (pack,) = (shell.folder / ".tensorvcs" / "packs").rglob("*.h5")
    backup = shutil.copytree(shell.folder, shell.folder.parent / "backup")
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    result = shell.run("verify")
    assert result.code == 1
    listed = result.stdout.partition("\nSamples that cannot be read:\n")[2]
    assert listed.startswith("  refs/heads/main, column 'images': 32 samples: ")
    assert "tvcs verify --repair-from REMOTE" in result.stderr
    (touched,) = shell.run("verify", "--json").document["touched"]
    assert (touched["version"], touched["column"]) == ("refs/heads/main", "images")
    assert touched["sample_count"] == 32
    assert len(touched["keys"]) == 20
    lines = shell.ok("verify", "--repair-from", str(backup)).splitlines()
    assert lines[0] == f"Mended from {backup}: 32 values, 0 objects; 1 pack written anew"
    assert lines[1].startswith("Sound: 1 commit, ")
    document = shell.json("verify", "--repair-from", str(backup))
    assert document["is_sound"]
    assert document["repair"] == {
        "source": str(backup), "packs": [], "value_count": 0, "object_count": 0, "files": [],
    }  # fmt: skip
    assert pack.with_name(f"damaged-{pack.name}").exists()


def test_a_damaged_format_file_is_mended_from_its_copy(shell: Shell) -> None:
    store(shell)
    file = shell.folder / ".tensorvcs" / "format.json"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"1", b"3", 1))
    result = shell.run("verify")
    assert result.code == 1
    assert result.stdout == "format.json: its checksum is wrong\n"
    assert result.stderr.endswith(
        "Error: 1 problem in 1 commit, 1 node, 64 values\n"
        "Hint: mend it from the other one: tvcs verify --repair\n"
    )
    assert shell.run("verify", "HEAD", "--repair").code == 2
    assert file.read_bytes() != content
    lines = shell.ok("verify", "--repair").splitlines()
    assert lines[0] == "Mended here: written anew from their copies: format.json"
    assert lines[1].startswith("Sound: 1 commit, ")
    assert file.read_bytes() == content
    assert shell.ok("verify", "--repair").startswith("Mended here: nothing\nSound: ")
    (shell.folder / ".tensorvcs" / "format-copy.json").unlink()
    document = shell.json("verify", "--repair")
    assert document["is_sound"]
    assert document["repair"] == {
        "source": "", "packs": [], "value_count": 0, "object_count": 0,
        "files": ["format-copy.json"],
    }  # fmt: skip


def test_one_damaged_format_file_and_damaged_values(shell: Shell) -> None:
    store(shell)
    backup = shutil.copytree(shell.folder, shell.folder.parent / "backup")
    (pack,) = (shell.folder / ".tensorvcs" / "packs").rglob("*.h5")
    pack.unlink()
    (shell.folder / ".tensorvcs" / "format-copy.json").write_text("{")
    result = shell.run("verify", "--repair")
    assert result.code == 1
    assert result.stdout.startswith("Mended here: written anew from their copies: format-copy.json")
    assert "tvcs verify --repair-from REMOTE" in result.stderr
    (shell.folder / ".tensorvcs" / "format-copy.json").write_text("{")
    (line, *_) = shell.ok("verify", "--repair-from", str(backup)).splitlines()
    assert line.startswith(f"Mended from {backup}: 64 values, ")
    assert line.endswith("; written anew from their copies: format-copy.json")


def test_what_a_remote_has_not_stays_damaged(shell: Shell) -> None:
    store(shell)
    (pack,) = (shell.folder / ".tensorvcs" / "packs").rglob("*.h5")
    pack.unlink()
    shell.go(shell.folder.parent / "empty")
    shell.ok("init")
    shell.go(shell.folder)
    result = shell.run("verify", "--repair-from", str(shell.folder.parent / "empty"))
    assert result.code == 1
    assert result.stdout.startswith(f"Mended from {shell.folder.parent / 'empty'}: 0 values")
    assert "another repository may have it" in result.stderr


def test_a_repair_is_of_everything(shell: Shell) -> None:
    store(shell)
    assert shell.run("verify", "HEAD", "--repair-from", "origin").code == 2
    assert "no repository at" in shell.fails("verify", "--repair-from", "nowhere")


def test_no_such_revision(shell: Shell) -> None:
    assert shell.fails("verify", "nope").startswith("Error: no branch, tag or commit is called")
