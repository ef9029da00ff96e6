"""``tvcs diff``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import ObjectNotFoundError
from tests.e2e.shell import entry_point

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


@pytest.fixture
def history(shell: Shell) -> Shell:
    """Three commits on main, one on dev beside the third, and a staged change."""
    shell.commit({"a": 1, "b": 2, 5: 5}, "First")
    shell.ok("tag", "v1")
    shell.commit({"a": 9, "b": None, "c": 3}, "Second")
    shell.ok("branch", "dev")
    shell.commit({"d": 4}, "Third")
    shell.ok("switch", "dev")
    shell.commit({"e": 5}, "On dev")
    shell.stage({5: 6})
    return shell


def test_staged(history: Shell) -> None:
    assert history.ok("diff") == "labels: +0 -0 ~1\n  ~ 5\n"


def test_staged_beyond_a_revision(history: Shell) -> None:
    assert history.ok("diff", "v1") == ("labels: +2 -1 ~2\n  ~ 5\n  ~ a\n  - b\n  + c\n  + e\n")


def test_two_revisions(history: Shell) -> None:
    expected = "labels: +2 -1 ~1\n  ~ a\n  - b\n  + c\n  + d\n"
    assert history.ok("diff", "v1", "main") == expected
    assert history.ok("diff", "v1..main") == expected
    assert history.ok("diff", "main", "main") == ""


def test_since_the_branches_parted(history: Shell) -> None:
    assert history.ok("diff", "main...dev") == "labels: +1 -0 ~0\n  + e\n"
    assert history.ok("diff", "main..dev") == "labels: +1 -1 ~0\n  - d\n  + e\n"
    assert history.ok("diff", "main...") == history.ok("diff", "main...HEAD")


def test_stat_and_names(history: Shell) -> None:
    assert history.ok("diff", "v1", "main", "--stat") == (
        " labels | +2 -1 ~1  l2 1 █ 10\n 1 column changed: 2 samples added, 1 deleted, 1 modified\n"
    )
    assert history.ok("diff", "v1", "main", "--names") == (
        "~\tlabels\ta\n-\tlabels\tb\n+\tlabels\tc\n+\tlabels\td\n"
    )


def test_json(history: Shell) -> None:
    counts = {"added": 2, "deleted": 1, "modified": 1, "schema": None}
    keys = {"added_keys": ["c", "d"], "deleted_keys": ["b"], "modified_keys": ["a"]}
    assert history.json("diff", "v1", "main") == {"columns": {"labels": {**counts, **keys}}}
    sizes = {"measured": 1, "measure": "l2", "edges": [1.0, 10.0], "counts": [1], "beyond": 0}
    assert history.json("diff", "v1", "main", "--stat") == {
        "columns": {"labels": {**counts, "sizes": sizes}}
    }
    assert history.json("diff")["columns"]["labels"]["modified_keys"] == [5]


def test_one_column(history: Shell) -> None:
    history.stage({"x": 1}, column="other")
    assert history.ok("diff", "--column", "other") == (
        "other: +1 -0 ~0\n  (new column, int64 ())\n  + x\n"
    )
    assert history.fails("diff", "-c", "nope") == (
        "Error: neither version has a column 'nope'; there are: labels, other\n"
    )


def test_long_lists_are_cut(shell: Shell) -> None:
    shell.commit({f"k{number:02}": 0 for number in range(15)}, "First")
    shell.stage({f"k{number:02}": 1 for number in range(30)})
    lines = shell.ok("diff").splitlines()
    assert lines[0] == "labels: +15 -0 ~15"
    assert lines[1:16] == [f"  ~ k{number:02}" for number in range(15)]
    assert lines[16:] == [
        *(f"  + k{number:02}" for number in range(15, 20)),
        "  … and 10 more; --all lists them",
    ]
    assert len(shell.ok("diff", "--all").splitlines()) == 31
    assert len(shell.ok("diff", "--names").splitlines()) == 30


def test_subsamples_and_odd_keys(shell: Shell) -> None:
    with shell.repository() as repo, repo.edit() as staging:
        nested = staging.add_str_column("scans", nested=True)
        nested["scan"] = {"slice-3": "text", 4: "text"}
        texts = staging.add_str_column("texts")
        for key in ("7", "a\x1b[2J", " b"):
            texts[key] = "x"
    assert shell.ok("diff") == (
        "scans: +2 -0 ~0\n"
        "  (new column, nested str)\n"
        "  + scan[4]\n"
        "  + scan[slice-3]\n"
        "texts: +3 -0 ~0\n"
        "  (new column, str)\n"
        '  + " b"\n'
        '  + "7"\n'
        '  + "a\\u001b[2J"\n'
    )
    assert shell.json("diff")["columns"]["scans"]["added_keys"] == [
        ["scan", 4],
        ["scan", "slice-3"],
    ]


def test_schema_changes(shell: Shell) -> None:
    with shell.repository() as repo, repo.edit() as staging:
        staging.add_ndarray_column("a", (2,), "uint8")
        staging.add_str_column("b")
        staging.commit("First")
        del staging["a"]
        del staging["b"]
        staging.add_ndarray_column("a", (3,), "uint8")
    assert shell.ok("diff") == (
        "a: +0 -0 ~0\n  (schema uint8 (2) to uint8 (3))\nb: +0 -0 ~0\n  (column deleted)\n"
    )


@pytest.fixture
def sized(shell: Shell) -> Shell:
    """Two commits in which every kind of sample changed, those of a higher key more."""
    ramp = np.repeat(np.arange(0, 256, 32, dtype=np.uint8)[None], 8, axis=0)
    big = np.tile(ramp, (2, 2))

    def fill(staging: Any, step: int) -> None:
        for at, key in enumerate(("a", "b", 7)):
            picture = big.copy()
            picture[: 4 * (at + 1), :8] = 255 if step else 0
            staging["images", key] = picture
            staging["labels", key] = 10 * at * step
            staging["texts", key] = "long " * 30 * (at == 2) + ("dog" if step else "cat")
            staging["crops", key] = big[: 9 + step * (at == 1)] + np.uint8(step)

    with shell.repository() as repo, repo.edit() as staging:
        staging.add_ndarray_column("images", prototype=big)
        staging.add_ndarray_column("labels", (), "int64")
        staging.add_str_column("texts")
        staging.add_ndarray_column("crops", (None, None), "uint8", variable_shape=True)
        fill(staging, 0)
        staging.commit("First")
        fill(staging, 1)
        del staging["images"]["a"]
        staging["images", "new"] = big
        staging.commit("Second")
    return shell


AB = ("HEAD~1", "HEAD")


def test_the_histogram_of_each_column(sized: Shell) -> None:
    assert sized.ok("diff", *AB, "--stat") == (
        " crops  | +0 -0 ~3  l2 10 █ 100, 1 infinite or of another shape\n"
        " images | +1 -1 ~2  l2 1000 █ 10000\n"
        " labels | +0 -0 ~2  l2 10 █ 100\n"
        " texts  | +0 -0 ~3  changed_fraction 0 ▄········█ 1\n"
        " 4 columns changed: 1 sample added, 1 deleted, 10 modified\n"
    )


def test_a_histogram_of_the_first_of_many(sized: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"{entry_point().__module__.split('.')[0]}.commands.diff")
    monkeypatch.setattr(module, "_MEASURED_SAMPLES", 1)
    lines = sized.ok("diff", *AB, "--stat", "-c", "labels").splitlines()
    assert lines[0] == " labels | +0 -0 ~2  l2 10 █ 100 (of the first 1 of 2)"
    assert sized.json("diff", *AB, "--stat")["columns"]["labels"]["sizes"]["measured"] == 1
    assert "of the first" not in sized.ok("diff", *AB, "--stat", "--all")


def picture(*rows: str) -> str:
    """Return rows of pictures as they are drawn below a sample; two pixels a letter."""
    return "".join(f"    {row}".rstrip() + "\n" for row in rows)


HALF = " .:-+*#%"  # One half of a picture: a ramp from black to white.


def test_samples_side_by_side(sized: Shell) -> None:
    black, white, gone = " " * 8 + HALF, "@" * 8 + HALF, "@" * 8
    same = f"{HALF * 2}  {HALF * 2}"
    # A row of letters has two of pixels; what changed is white in the third picture.
    large = picture(*[f"{black}  {white}  {gone}"] * 6, *[same] * 2)
    small = picture(*[f"{black}  {white}  {gone}"] * 4, *[same] * 4)
    largest = "  ~ 7  l2 2498, max 255, mean 95.62, 37.5 % changed, psnr 4.26 dB\n"
    second = "  ~ b  l2 2040, max 255, mean 63.75, 25 % changed, psnr 6.02 dB\n"
    added = "  + new  uint8 (16, 16)\n" + picture(*[HALF * 2] * 8)
    deleted = "  - a  uint8 (16, 16)\n" + picture(*[black] * 2, *[HALF * 2] * 6)
    head, rest = "images: +1 -1 ~2\n", "  … and 2 more; --all lists them\n"
    shown = ("diff", *AB, "--show", "-c", "images")
    assert sized.ok(*shown, "-n", "2") == head + largest + large + deleted + rest
    assert (
        sized.ok(*shown, "-n", "2", "--sort", "size")
        == head + largest + large + second + small + rest
    )
    whole = head + largest + large + deleted + second + small + added
    assert sized.ok(*shown) == sized.ok(*shown, "--all") == whole


def test_samples_that_are_no_pictures(sized: Shell) -> None:
    assert sized.ok("diff", *AB, "--show", "-c", "labels", "-c", "texts") == (
        "labels: +0 -0 ~2\n"
        "  ~ 7  0 → 20\n"
        "  ~ b  0 → 10\n"
        "texts: +0 -0 ~3\n"
        "  ~ 7  …long long long long cat → …long long long long dog  (1.96 % changed)\n"
        "  ~ a  cat → dog  (100 % changed)\n"
        "  ~ b  cat → dog  (100 % changed)\n"
    )


def test_samples_of_other_shapes_and_long_texts(shell: Shell) -> None:
    with shell.repository() as repo, repo.edit() as staging:
        staging.add_ndarray_column("v", (None,), "int64", variable_shape=True)["a"] = [1, 2]
        staging.add_str_column("texts")["a"] = "x" * 70
        staging.add_bytes_column("blobs")["a"] = b"\0\1"
        staging.commit("First")
        staging["v"]["a"] = [1, 2, 3]
        staging["texts"]["a"] = "y" * 71
        staging["texts"]["b"] = "z" * 200
        staging["blobs"]["a"] = b"\0\2"
    assert shell.ok("diff", "--show") == (
        "blobs: +0 -0 ~1\n"
        "  ~ a  2 bytes: 00 01 → 2 bytes: 00 02  (50 % changed)\n"
        "texts: +1 -0 ~1\n"
        "  ~ a  70 characters → 71 characters, 100 % changed\n"
        f"    - {'x' * 70}\n"
        f"    + {'y' * 71}\n"
        "  + b  200 characters\n"
        f"    + {'z' * 159}…\n"
        "v: +0 -0 ~1\n"
        "  ~ a  [1 2] → [1 2 3]  (int64 (2,) → int64 (3,), 100 % changed)\n"
    )


def test_samples_as_json(sized: Shell) -> None:
    columns = sized.json("diff", *AB, "--show", "--sort", "size", "-n", "1")["columns"]
    assert columns["labels"]["changes"] == [
        {
            "key": 7,
            "sign": "~",
            "before": value_document(0),
            "after": value_document(20),
            "size": {
                "max_absolute": 20.0,
                "mean_absolute": 20.0,
                "l2": 20.0,
                "changed_fraction": 1.0,
                "psnr": None,
            },
        }
    ]
    assert [change["key"] for change in columns["crops"]["changes"]] == ["b"]
    assert columns["crops"]["changes"][0]["size"]["l2"] is None
    images = sized.json("diff", *AB, "--show", "-c", "images")["columns"]["images"]["changes"]
    assert [(change["sign"], change["key"]) for change in images] == [
        ("~", 7), ("-", "a"), ("~", "b"), ("+", "new"),
    ]  # fmt: skip
    assert images[1]["after"] is None
    assert images[1]["size"] is None


def value_document(value: int) -> dict[str, Any]:
    numbers = dict.fromkeys(("minimum", "maximum", "mean"), float(value))
    rest = {"deviation": 0.0, "nan_count": 0, "infinite_count": 0, "value": value}
    return {"kind": "ndarray", "dtype": "int64", "shape": [], **numbers, **rest}


def test_the_largest_first(sized: Shell) -> None:
    assert sized.ok("diff", *AB, "--sort", "size", "-c", "images") == (
        "images: +1 -1 ~2\n"
        "  ~ 7  l2 2498, max 255, mean 95.62, 37.5 % changed, psnr 4.26 dB\n"
        "  ~ b  l2 2040, max 255, mean 63.75, 25 % changed, psnr 6.02 dB\n"
        "  - a\n"
        "  + new\n"
    )
    assert sized.ok("diff", *AB, "--names", "--sort", "size", "-n", "1") == (
        "~\tcrops\tb\n~\timages\t7\n~\tlabels\t7\n~\ttexts\ta\n"
    )
    keys = sized.json("diff", *AB, "--sort", "size", "-n", "3", "-c", "images")["columns"]["images"]
    assert (keys["modified_keys"], keys["deleted_keys"], keys["added_keys"]) == (
        [7, "b"],
        ["a"],
        [],
    )
    assert (keys["added"], keys["deleted"], keys["modified"]) == (1, 1, 2)


def test_limits(sized: Shell) -> None:
    shown = sized.ok("diff", *AB, "-c", "images", "-n", "1")
    assert shown == "images: +1 -1 ~2\n  ~ 7\n  … and 3 more; --all lists them\n"
    assert sized.json("diff", *AB, "-n", "0")["columns"]["labels"]["modified_keys"] == []


def test_a_renamed_column(shell: Shell) -> None:
    shell.commit({"a": 1, "b": 2, "c": 3}, "First")
    shell.ok("column", "rename", "labels", "classes")
    with shell.repository() as repo, repo.edit() as staging:
        staging["classes", "a"] = 5
    stat = " labels => classes | +0 -0 ~1"
    assert shell.ok("diff") == "classes: +0 -0 ~1\n  (renamed from labels)\n  ~ a\n"
    assert shell.ok("diff", "--stat").splitlines()[0] == f"{stat}  l2 1 █ 10"
    assert stat in shell.ok("status").splitlines()
    assert shell.ok("diff", "--names") == "R\tclasses\tlabels\n~\tclasses\ta\n"
    assert shell.ok("diff", "--names", "-c", "labels") == shell.ok("diff", "--names")
    assert shell.json("diff")["columns"] == {
        "classes": {
            "added": 0,
            "deleted": 0,
            "modified": 1,
            "schema": None,
            "renamed_from": "labels",
            "added_keys": [],
            "deleted_keys": [],
            "modified_keys": ["a"],
        }
    }
    shell.ok("commit", "-m", "Rename")
    assert stat in shell.ok("show").splitlines()


def test_counts_are_shown_where_values_are_not_here(
    sized: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: object) -> None:
        raise ObjectNotFoundError("tensor 00 is not here")

    monkeypatch.setattr("tensorvcs.storage.hdf5_tensors.Hdf5Tensors.read", nothing)
    lines = sized.ok("diff", *AB, "--stat").splitlines()
    assert lines[:3] == [
        " crops  | +0 -0 ~3",
        " images | +1 -1 ~2",
        " labels | +0 -0 ~2  l2 10 █ 100",
    ]
    failed = sized.run("diff", *AB, "--show", "-c", "images")
    assert (failed.stderr, failed.code) == ("Error: tensor 00 is not here\n", 1)


def test_wrong_usage(history: Shell) -> None:
    assert history.fails("diff", "a", "b", "c", code=2).startswith(
        "Error: a diff has at most two revisions, not 3\n"
    )
    assert history.fails("diff", "--stat", "--names", code=2).startswith(
        "Error: --stat and --names exclude each other\n"
    )
    for words in (
        ("--show", "--stat"),
        ("--names", "--show"),
        ("--all", "--limit", "3"),
        ("--stat", "--sort", "size"),
        ("--stat", "--limit", "3"),
        ("--limit", "-1"),
        ("--sort", "name"),
    ):
        assert words[0] in history.fails("diff", *words, code=2), words
    assert history.fails("diff", "nope") == (
        "Error: no branch, tag or commit is called 'nope'\n"
        "Hint: 'tvcs log', 'tvcs branch' and 'tvcs tag' list what there is\n"
    )
