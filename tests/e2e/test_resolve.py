"""``tvcs resolve``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


@pytest.fixture
def parted(shell: Shell) -> Shell:
    """A merge in progress with six conflicts in labels."""
    keys: list[str | int] = ["cat/1", "cat/2", "dog/1", 5, 6, 700]
    shell.commit({"z": 0, **dict.fromkeys(keys, 1)}, "First")
    shell.ok("branch", "dev")
    shell.commit(dict.fromkeys(keys, 3), "On main")
    shell.ok("switch", "dev")
    shell.commit({**dict.fromkeys(keys, 2), "dog/1": None}, "On dev")
    shell.ok("switch", "main")
    assert shell.run("merge", "dev", "--keep-conflicts").code == 1
    return shell


def labels(shell: Shell) -> dict[Any, int]:
    with shell.repository() as repo, repo.edit() as co:
        return {key: int(value) for key, value in co["labels"].items() if key != "z"}


def test_one_sample(parted: Shell) -> None:
    assert parted.ok("resolve", "labels", "cat/1", "--theirs") == (
        "Decided 1 conflict\n5 conflicts left: 'tvcs conflicts' lists them\n"
    )
    assert parted.ok("resolve", "labels", "5", "dog/1", "--theirs") == (
        "Decided 2 conflicts\n3 conflicts left: 'tvcs conflicts' lists them\n"
    )
    assert labels(parted) == {5: 2, 6: 3, 700: 3, "cat/1": 2, "cat/2": 3}


def test_patterns(parted: Shell) -> None:
    assert parted.json("resolve", "labels", "cat/*", "0:100", "--theirs") == {
        "decided": 4, "open": 2,
    }  # fmt: skip
    assert labels(parted) == {5: 2, 6: 2, 700: 3, "cat/1": 2, "cat/2": 2, "dog/1": 3}
    assert parted.fails("resolve", "labels", "cat/*", "--ours") == (
        "Error: no conflict of column 'labels' has a key like 'cat/*'\n"
        "Hint: 'tvcs conflicts' lists those that are open\n"
    )


def test_anew(parted: Shell) -> None:
    parted.ok("resolve", "labels", "cat/1", "--theirs")
    assert parted.ok("resolve", "labels", "cat/1", "--delete") == (
        "No open conflict was decided, but others anew\n"
        "5 conflicts left: 'tvcs conflicts' lists them\n"
    )
    assert "cat/1" not in labels(parted)


def test_all(parted: Shell) -> None:
    assert parted.ok("resolve", "--all", "--theirs") == (
        "Decided 6 conflicts\nNone is left: record the merge with 'tvcs merge --continue'\n"
    )
    assert labels(parted) == {5: 2, 6: 2, 700: 2, "cat/1": 2, "cat/2": 2}
    assert parted.ok("resolve", "labels", "--all", "--ours").startswith("Nothing was open\n")
    assert labels(parted)["cat/1"] == 2


def test_typed_values(parted: Shell) -> None:
    parted.ok("resolve", "labels", "cat/1", "6", "--value-text", "-7")
    assert (labels(parted)["cat/1"], labels(parted)[6]) == (-7, -7)
    assert parted.fails("resolve", "labels", "cat/1", "--value-text", "seven") == (
        "Error: 'seven' is no value of int64 ()\n"
        "Hint: write numbers like 3, true or [[0.5, 1], [2, 3]], or give a file with --value\n"
    )
    assert parted.fails("resolve", "labels", "cat/1", "--value-text", "0.5").startswith(
        "Error: column 'labels', key 'cat/1': "
    )
    assert parted.json("resolve", "labels", "--all", "--value-text", "9")["open"] == 0
    assert labels(parted)["dog/1"] == 9


def test_every_step_can_be_undone(parted: Shell) -> None:
    parted.ok("resolve", "labels", "5", "--theirs")
    parted.ok("resolve", "labels", "6", "--theirs")
    assert parted.ok("op", "log", "-n", "1").endswith("resolve: 1 conflict in labels by theirs\n")
    parted.ok("undo")
    assert labels(parted)[6] == 3
    assert parted.json("status")["merge"]["open"] == 5


@pytest.mark.parametrize(("arguments", "problem"), [
    (("labels", "5"), "give one of --ours, --theirs, --delete, --value and --value-text"),
    (("labels", "5", "--ours", "--value-text", "1"),
     "give one of --ours, --theirs, --delete, --value and --value-text"),
    (("labels", "5", "--ours", "--theirs"),
     "give one of --ours, --theirs, --delete, --value and --value-text"),
    (("labels", "5", "--theirs", "--delete"),
     "give one of --ours, --theirs, --delete, --value and --value-text"),
    (("--ours",), "name a COLUMN, or give --all"),
    (("labels", "5", "--all", "--ours"), "KEY and --all exclude each other"),
    (("--all", "--value-text", "1"), "a value is for one COLUMN; name it"),
])  # fmt: skip
def test_wrong_usage(parted: Shell, arguments: tuple[str, ...], problem: str) -> None:
    assert parted.fails("resolve", *arguments, code=2) == (
        f"Error: {problem}\nHint: see 'tvcs resolve --help'\n"
    )


def test_refused(parted: Shell) -> None:
    lists = "Hint: 'tvcs conflicts' lists those that are open\n"
    for arguments, problem in (
        (("labels", "z", "--ours"), "no conflict of column 'labels' has a key like 'z'"),
        (("nope", "--all", "--ours"),
         "no conflict is in column 'nope'; there are some in: labels"),
    ):  # fmt: skip
        assert parted.fails("resolve", *arguments) == f"Error: {problem}\n{lists}"
    assert parted.fails("resolve", "nope", "5", "--ours") == (
        "Error: no sample of column 'nope' is in conflict\n"
        "Hint: 'tvcs conflicts' lists the conflicts that are open\n"
    )
    assert parted.fails("resolve", "labels", "--ours") == (
        "Error: column 'labels' is in conflict by sample; name a key\n"
        "Hint: or decide all of them: tvcs resolve labels --all, or resolve_all\n"
    )
    parted.ok("merge", "--abort")
    assert parted.fails("resolve", "labels", "5", "--ours") == (
        "Error: no merge, cherry-pick or revert is in progress\n"
        "Hint: begin one that keeps its conflicts: tvcs merge REV --keep-conflicts\n"
    )


def test_values_from_files(shell: Shell) -> None:
    from PIL import Image

    def change(number: int) -> None:
        with shell.repository() as repo, repo.edit() as co:
            if not number:
                co.add_ndarray_column("images", (4, 4, 3), "uint8")
                co.add_ndarray_column("grey", (4, 4), "uint8")
                co.add_ndarray_column("scan", (2,), "float32", nested=True)
                co.add_str_column("notes")
                co.add_bytes_column("raw")
            co["images", "a"] = np.full((4, 4, 3), number, np.uint8)
            co["grey", "a"] = np.full((4, 4), number, np.uint8)
            co["scan"].update({"s": {1: np.full(2, number, np.float32), "1": [0, number]}})
            co["notes", "a"] = str(number)
            co["raw", "a"] = bytes([number])
            co.commit(f"c{number}")

    change(0)
    shell.ok("switch", "-c", "dev")
    change(1)
    shell.ok("switch", "main")
    change(2)
    assert shell.run("merge", "dev", "--keep-conflicts").code == 1
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(shell.folder / "new.png")
    np.save(shell.folder / "new.npy", np.array([7, 8], np.float32))
    np.savez(shell.folder / "many.npz", np.zeros(2, np.float32))
    (shell.folder / "new.txt").write_text("naïve\n", encoding="utf-8")
    (shell.folder / "latin.txt").write_bytes(b"na\xefve")
    shell.ok("resolve", "images", "a", "--value", "new.png")
    shell.ok("resolve", "grey", "a", "--value", "new.png")
    shell.ok("resolve", "scan", "s[1]", "--value", "new.npy")
    shell.ok("resolve", "notes", "a", "--value", "new.txt")
    shell.ok("resolve", "raw", "a", "--value", "latin.txt")
    assert shell.ok("conflicts").splitlines()[2].split()[:2] == ["scan", 's["1"]']
    shell.ok("resolve", "scan", 's["1"]', "--theirs")
    shell.ok("merge", "--continue")
    with shell.repository() as repo:
        co = repo.checkout()
        np.testing.assert_array_equal(co["images", "a"], pixels)
        assert co["grey", "a"].shape == (4, 4)
        assert co["scan"]["s"][1].tolist() == [7, 8]
        assert co["scan"]["s"]["1"].tolist() == [0, 1]
        assert co["notes", "a"] == "naïve\n"
        assert co["raw", "a"] == b"na\xefve"
    shell.ok("undo")
    kinds = "Hint: an array is read from a .npy file or an image, a text from a UTF-8 file\n"
    for arguments, start in (
        (("notes", "a", "--value", "latin.txt"),
         "Error: latin.txt: it has no value of str: 'utf-8' codec"),
        (("images", "a", "--value", "new.txt"),
         "Error: new.txt: it has no value of uint8 (4, 4, 3): "),
        (("images", "a", "--value", "many.npz"), "Error: many.npz: it has several arrays\n"),
    ):  # fmt: skip
        errors = shell.fails("resolve", *arguments)
        assert errors.startswith(start)
        assert errors.endswith(kinds)
    assert shell.fails("resolve", "images", "a", "--value", "none.npy").startswith(
        "Error: cannot read none.npy: "
    )
    (shell.folder / "broken.png").write_bytes(b"no picture")
    assert shell.fails("resolve", "images", "a", "--value", "broken.png").startswith("Error: ")
    assert shell.fails("resolve", "images", "a", "--value", "new.npy").startswith(
        "Error: column 'images', key 'a': "
    )
    shell.ok("resolve", "notes", "a", "--value-text", "typed")
    shell.ok("resolve", "raw", "a", "--value-text", "typed")
    shell.ok("resolve", "scan", "s", "--value-text", "[0.5, 1]")
    with shell.repository() as repo, repo.edit() as staging:
        assert (staging["notes", "a"], staging["raw", "a"]) == ("typed", b"typed")
        assert staging["scan"]["s"]["1"].tolist() == [0.5, 1]


def test_a_column_as_a_whole(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("switch", "-c", "dev")
    shell.ok("column", "delete", "labels")
    shell.ok("commit", "-m", "Drop")
    shell.ok("switch", "main")
    shell.commit({"a": 2}, "Relabel")
    shell.run("merge", "dev", "--keep-conflicts")
    assert shell.fails("resolve", "labels", "a", "--ours") == (
        "Error: column 'labels' is in conflict as a whole (modify/delete)\n"
        "Hint: 'tvcs conflicts' lists the conflicts that are open\n"
    )
    shell.ok("resolve", "labels", "--theirs")
    shell.ok("merge", "--continue")
    assert shell.json("column", "list") == []
