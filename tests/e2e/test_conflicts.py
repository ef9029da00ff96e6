"""``tvcs conflicts``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def change(shell: Shell, number: int) -> None:
    """Commit one version of columns of every kind."""
    with shell.repository() as repo, repo.edit() as co:
        if not number:
            co.add_ndarray_column("images", (4, 4), "uint8")
            co.add_ndarray_column("labels", (), "int64")
            co.add_str_column("notes", nested=True)
            co.add_ndarray_column("sounds", (None,), "float32", variable_shape=True)
            co.add_bytes_column("raw")
            co.add_str_column("whole")["x"] = "1"
        co["images"].update({"a": np.full((4, 4), number, np.uint8)})
        if number:
            co["images", "new"] = np.full((4, 4), number, np.uint8)
        co["labels"].update({"a": number, 7: number})
        co["notes"].update({"s": {1: "text " * 10 * number + "!"}})
        co["sounds", "a"] = np.zeros(5 + number, np.float32)
        co["raw", "a"] = bytes(30 * number)
        if number == 1:
            del co["labels"]["a"]
            co.rename_column("whole", "left")
        if number == 2:
            co.rename_column("whole", "right")
        co.commit(f"c{number}")


@pytest.fixture
def parted(shell: Shell) -> Shell:
    change(shell, 0)
    shell.ok("switch", "-c", "dev")
    change(shell, 1)
    shell.ok("switch", "main")
    change(shell, 2)
    assert shell.run("merge", "dev", "--keep-conflicts").code == 1
    return shell


def test_nothing_in_progress(shell: Shell) -> None:
    assert shell.ok("conflicts") == "No merge, cherry-pick or revert is in progress\n"
    assert shell.json("conflicts") == {"verb": None, "theirs": None, "open": 0, "conflicts": []}


def test_every_kind_of_value(parted: Shell) -> None:
    assert parted.ok("conflicts").splitlines() == [
        f"8 conflicts of the merge of {parted.short('dev')} to decide",
        "COLUMN  KEY   CONFLICT       BASE          OURS                 THEIRS",
        "images  a     modify/modify  uint8 (4, 4)  100 % changed, l2 8  100 % changed, l2 4",
        "images  new   add/add        absent        uint8 (4, 4)         uint8 (4, 4)",
        "labels  7     modify/modify  0             2                    1",
        "labels  a     modify/delete  0             2                    deleted",
        "notes   s[1]  modify/modify  !             101 characters       51 characters",
        "raw     a     modify/modify  0 bytes       60 bytes             30 bytes",
        "sounds  a     modify/modify  float32 (5,)  float32 (7,)         float32 (6,)",
        "right         rename                       right: str           left: str",
    ]


def test_a_column_and_a_limit(parted: Shell) -> None:
    assert parted.ok("conflicts", "--column", "labels", "-n", "1").splitlines()[1:] == [
        "COLUMN  KEY  CONFLICT       BASE  OURS  THEIRS",
        "labels  7    modify/modify  0     2     1",
    ]
    assert parted.fails("conflicts", "--column", "nope") == (
        "Error: no open conflict in column 'nope'; there are: images, labels, notes, raw, sounds, "
        "right\n"
    )


def by_column(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"{d['column']}[{d['key']}]": d for d in documents}


def test_documents(parted: Shell) -> None:
    document = parted.json("conflicts")
    assert (document["verb"], document["theirs"]) == ("merge", parted.id("dev"))
    assert document["open"] == len(document["conflicts"]) == 8
    found = by_column(document["conflicts"])
    label = found["labels[a]"]
    assert (label["kind"], label["base"]["value"]) == ("modify/delete", 0)
    assert (label["ours"]["value"], label["theirs"]) == (2, None)
    assert list(label["change"]) == ["ours"]
    assert found["images[a]"]["change"]["ours"]["l2"] == 8.0
    assert found["images[new]"]["base"] is None
    assert found["notes[['s', 1]]"]["base"]["value"] == "!"
    whole = found["right[None]"]
    assert (list(whole["ours"]), list(whole["theirs"])) == (["right"], ["left"])


def test_all_decided(parted: Shell) -> None:
    parted.ok("resolve", "--all", "--ours")
    assert parted.ok("conflicts") == (
        f"All conflicts of the merge of {parted.short('dev')} are decided; record it with "
        "'tvcs merge --continue'\n"
    )
