"""``tvcs view``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.e2e.shell import Shell

RAMP = np.repeat(np.arange(0, 256, 32, dtype=np.uint8)[None], 8, axis=0)


@pytest.fixture
def samples(shell: Shell) -> Shell:
    """One commit with a column of each kind."""
    with shell.repository() as repo, repo.edit() as staging:
        staging.add_ndarray_column("images", prototype=RAMP)["cat/1"] = RAMP
        staging.add_ndarray_column("vectors", (3,), "float32")[7] = [1, np.nan, np.inf]
        staging.add_ndarray_column("waves", (2,), "complex64")["w"] = [1j, 2]
        staging.add_ndarray_column("labels", (), "int64")["7"] = -3
        staging.add_str_column("texts")["t"] = "two\nlines\x1b[2J"
        staging.add_bytes_column("blobs")["b"] = bytes(range(256)) + b"x"
        nested = staging.add_str_column("scans", nested=True)
        nested["scan"] = {f"slice-{number:02}": "text" for number in range(22)} | {4: "four"}
        nested[7] = {"x": "seven"}
    shell.ok("commit", "-m", "First")
    return shell


def view(shell: Shell, *arguments: str) -> str:
    """Return what is shown below the line with the commit."""
    head, _, rest = shell.ok("view", *arguments).partition("\n")
    assert head.endswith(f" at {shell.short()}"), head
    return rest


def test_a_picture(samples: Shell) -> None:
    # A small picture is drawn three times as large.
    line = "".join(shade * 3 for shade in " .:-+*#%")
    assert samples.ok("view", "images", "cat/1") == (
        f"images cat/1 at {samples.short()}\n"
        "uint8 (8, 8)\n"
        "min 0, max 224, mean 112, std 73.32\n" + f"{line}\n" * 12
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("vectors", "7"),
            ("float32 (3,)\nmin 1, max 1, mean 1, std 0, 1 NaN, 1 infinite\n[ 1. nan inf]\n"),
        ),
        (("waves", "w"), "complex64 (2,)\n[0.+1.j 2.+0.j]\n"),
        (("labels", "7"), "int64 ()\n-3\n"),
        (("texts", "t"), "13 characters\ntwo\nlines\\x1b[2J\n"),
        (("scans", "scan[slice-03]"), "4 characters\ntext\n"),
        (("scans", "scan[4]"), "4 characters\nfour\n"),
        (("scans", "7[x]"), "5 characters\nseven\n"),
    ],
)
def test_a_value(samples: Shell, arguments: tuple[str, str], text: str) -> None:
    assert view(samples, *arguments) == text


def test_long_bytes_are_cut(samples: Shell) -> None:
    lines = view(samples, "blobs", "b").splitlines()
    assert lines[0] == "257 bytes"
    assert lines[1] == "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"
    assert len(lines) == 18
    assert lines[-1] == "… and 1 byte more"


def test_the_subsamples_of_a_sample(samples: Shell) -> None:
    lines = samples.ok("view", "scans", "scan").splitlines()
    assert lines[0] == f"scans scan at {samples.short()}: 23 subsamples"
    assert lines[1:3] == ["4  4 characters", "slice-00  4 characters"]
    assert len(lines) == 22
    assert lines[-1] == "… and 3 more"
    assert samples.ok("view", "scans", "7").splitlines()[1:] == ["x  5 characters"]


def test_an_older_version(samples: Shell) -> None:
    with samples.repository() as repo, repo.edit() as staging:
        staging["labels", "7"] = 8
    samples.ok("commit", "-m", "Second")
    assert view(samples, "labels", "7").endswith("\n8\n")
    assert samples.ok("view", "labels", "7", "HEAD~1").endswith("\n-3\n")


def test_json(samples: Shell) -> None:
    def value_of(*arguments: str) -> Any:
        document = samples.json("view", *arguments)
        assert document.pop("commit") == samples.id()
        assert document.pop("column") == arguments[0]
        return document

    assert value_of("vectors", "7") == {
        "key": 7,
        "value": {
            "kind": "ndarray",
            "dtype": "float32",
            "shape": [3],
            "minimum": 1.0,
            "maximum": 1.0,
            "mean": 1.0,
            "deviation": 0.0,
            "nan_count": 1,
            "infinite_count": 1,
            "value": [1.0, "nan", "inf"],
        },
    }
    assert value_of("waves", "w")["value"]["value"] == [[0.0, 1.0], [2.0, 0.0]]
    assert "value" not in value_of("images", "cat/1")["value"]
    assert value_of("texts", "t") == {
        "key": "t",
        "value": {"kind": "str", "length": 13, "value": "two\nlines\x1b[2J"},
    }
    assert value_of("blobs", "b")["value"] == {"kind": "bytes", "length": 257}
    assert value_of("scans", "scan[4]")["key"] == ["scan", 4]
    assert value_of("scans", "7") == {"key": 7, "subsamples": ["x"]}


def test_values_of_every_dtype_are_json(shell: Shell) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    with shell.repository() as repo, repo.edit() as staging:
        staging.add_ndarray_column("halves", (2,), "bfloat16")["a"] = np.array(
            [1.5, np.nan], ml_dtypes.bfloat16
        )
        staging.add_ndarray_column("flags", (2,), "bool")["a"] = [True, False]
        staging.add_bytes_column("blobs")["a"] = b"\0\xff"
    shell.ok("commit", "-m", "First")
    assert shell.json("view", "halves", "a")["value"]["value"] == [1.5, "nan"]
    assert shell.json("view", "flags", "a")["value"]["value"] == [True, False]
    assert shell.json("view", "blobs", "a")["value"]["hex"] == "00ff"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("images", "dog"), "column 'images' has no sample 'dog'"),
        (("images", "cat[1]"), "column 'images' has no sample 'cat[1]'"),
        (("labels", "8"), "column 'labels' has no sample 8"),
        (("scans", "scan[nope]"), "column 'scans' has no sample ('scan', 'nope')"),
        (("scans", "nope[4]"), "column 'scans' has no sample 'nope'"),
        (("scans", "nope"), "column 'scans' has no sample 'nope'"),
    ],
)
def test_what_is_not_there(samples: Shell, arguments: tuple[str, str], error: str) -> None:
    assert samples.fails("view", *arguments) == f"Error: {error}\n"


def test_no_such_column_and_no_such_revision(samples: Shell) -> None:
    assert samples.fails("view", "nope", "1") == (
        f"Error: commit {samples.short()} has no column 'nope'; there are: "
        "blobs, images, labels, scans, texts, vectors, waves\n"
    )
    assert samples.fails("view", "labels", "7", "nope").startswith(
        "Error: no branch, tag or commit is called 'nope'\n"
    )
    assert samples.fails("view", "labels", code=2).startswith("Error: Missing argument 'KEY'.")


def test_before_the_first_commit(shell: Shell) -> None:
    assert shell.fails("view", "labels", "a").startswith(
        "Error: branch 'main' has no commits yet\n"
    )
