"""``tvcs run``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def trained(shell: Shell, name: str, count: int | None = None) -> None:
    """Read labels with a loader, and write its provenance to a file."""
    torch = pytest.importorskip("tensorvcs.torch", reason="torch is not installed")
    with shell.repository() as repo:
        loader = torch.TensorLoader(
            repo.checkout(), ["labels"], batch_size=1, seed=3, shuffle=False
        )
        for place, _ in enumerate(loader):
            if place + 1 == count:
                break
        (shell.folder / f"{name}.json").write_text(json.dumps(loader.provenance()))


def test_record_list_show_and_delete(shell: Shell) -> None:
    first = shell.commit({"a": 1, "b": 2}, "First")
    trained(shell, "p")
    what = (
        "2026-01-02 03:04 by Ada <ada@example.org>\n"
        f"{first} First\n"
        "columns: labels\n"
        "transforms: {}\n"
        "seed: 3\n"
        "epoch: 1\n"
        "samples_seen: 2\n"
        "accuracy = 0.5\n"
    )
    recorded = shell.ok("run", "record", "one", "p.json", "--metric", "accuracy=0.5")
    assert recorded == "Recorded run one\n" + what
    assert shell.ok("run", "show", "one") == what
    assert shell.ok("run", "list") == f"one  2026-01-02 03:04  {first}  accuracy=0.5\n"
    document = shell.json("run", "show", "one")
    assert document["provenance"] == json.loads((shell.folder / "p.json").read_text())
    assert document["commits"][0]["id"] == shell.id()
    assert shell.ok("run", "verify", "one") == (
        "data: as recorded\norder: as recorded, 2 samples seen\n"
    )
    assert shell.fails("run", "record", "one", "p.json") == (
        "Error: run 'one' is recorded already\n"
        "Hint: choose another name, or overwrite=True (--overwrite)\n"
    )
    assert shell.ok("run", "delete", "one") == "Deleted run one\n"
    assert shell.ok("run", "list") == ""
    shell.ok("undo")
    assert shell.ok("run", "show", "one") == what


def test_a_record_moves_as_a_file(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    trained(shell, "p")
    shell.ok("run", "record", "one", "p.json", "--metric", "loss=nan")
    (shell.folder / "moved.json").write_text(shell.ok("run", "show", "one", "--json"))
    shell.ok("run", "record", "two", "moved.json")
    one, two = shell.json("run", "list")
    assert one["provenance"] == two["provenance"]
    assert one["metrics"] == two["metrics"]


def test_two_runs_side_by_side(shell: Shell) -> None:
    first = shell.commit({"a": 1, "b": 2, "c": 3}, "First")
    trained(shell, "p", 2)
    shell.ok("run", "record", "one", "p.json")
    second = shell.commit({"a": 9, "d": 4}, "Second")
    trained(shell, "q")
    shell.ok("run", "record", "two", "q.json")
    assert shell.ok("run", "diff", "one", "two") == (
        "Only one saw 0 samples\n"
        "Only two saw 2 samples: c, d\n"
        "Both saw 2 samples\n"
        "  of them 1 sample with other labels: a\n"
        f"From {first} to {second}:\n"
        " labels | +1 -0 ~1\n"
        " 1 column changed: 1 sample added, 0 deleted, 1 modified\n"
    )
    assert shell.json("run", "diff", "two", "one")["samples"] == {
        "only_a": ["c", "d"], "only_b": [], "both": 2, "modified": {"labels": ["a"]},
    }  # fmt: skip


def test_a_run_by_hand(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("run", "record", "by-hand", "--commit", "main", "--metric", "loss=0.25")
    trained(shell, "p")
    shell.ok("run", "record", "one", "p.json")
    assert shell.ok("run", "diff", "by-hand", "one").splitlines()[0] == (
        "Which samples were seen is not in both records."
    )
    assert shell.ok("run", "diff", "by-hand", "by-hand").splitlines()[1:] == [
        "Nothing differs between their commits."
    ]
    errors = shell.fails("run", "verify", "by-hand")
    assert errors.startswith(
        "Error: run 'by-hand' has no record of what a loader read: it lacks seed, order, "
    )
    record = json.loads((shell.folder / "p.json").read_text()) | {"order_digest": "0" * 32}
    (shell.folder / "q.json").write_text(json.dumps(record))
    shell.ok("run", "record", "false", "q.json")
    result = shell.run("run", "verify", "false")
    assert result.code == 1
    assert result.stdout == "data: as recorded\norder: another, 1 sample seen\n"
    assert result.stderr.startswith(
        "Error: run 'false' cannot be repeated from its record: the order worked out again has"
    )


def test_refused(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    assert shell.fails("run", "show", "none") == (
        "Error: no run 'none'\nHint: 'tvcs run list' lists the runs\n"
    )
    (shell.folder / "x.json").write_text("[1")
    assert shell.fails("run", "record", "a", "x.json").startswith("Error: x.json is no JSON: ")
    (shell.folder / "x.json").write_text("[1]")
    assert "not an object with names" in shell.fails("run", "record", "a", "x.json")
    assert "cannot read nope" in shell.fails("run", "record", "a", "nope")
    assert shell.fails("run", "record", "a") == (
        "Error: the provenance names no commit\nHint: add one under 'commit' (--commit REV)\n"
    )
    failure = shell.fails("run", "record", "a", "--commit", "main", "--metric", "x=high")
    assert failure == "Error: metric 'x' is no number: 'high'\n"


def test_runs_of_parts_and_mixes(shell: Shell) -> None:
    torch = pytest.importorskip("tensorvcs.torch", reason="torch is not installed")
    first = shell.commit({f"k{n}": n for n in range(9)}, "First")
    second = shell.commit({"k0": 100}, "Second")
    with shell.repository() as repo:
        whole = torch.TensorDataset(repo.checkout("HEAD~1"), ["labels"])
        later = torch.TensorDataset(repo.checkout(), ["labels"], keys=["k0", "k8"])
        sources = {
            "keys": later,
            "split": whole.split({"train": 1, "none": 0})["train"].split({"a": 1})["a"],
            "mix": torch.Mix({"old": (whole, 3), "new": (later, 1)}),
        }
        for name, source in sources.items():
            loader = torch.TensorLoader(source, batch_size=4)
            list(loader)
            (shell.folder / f"{name}.json").write_text(json.dumps(loader.provenance()))
            shell.ok("run", "record", name, f"{name}.json")
            assert shell.ok("run", "verify", name).startswith("data: as recorded\norder: as rec")
    assert "\nsamples: 2 samples chosen\n" in shell.ok("run", "show", "keys")
    assert "\nsamples: 9 samples chosen by split: train, a\n" in shell.ok("run", "show", "split")
    shown = shell.ok("run", "show", "mix")
    assert f"{first} First\n{second} Second\n" in shown
    assert "part old, weight 3.0: all samples\n" in shown
    assert "part new, weight 1.0: 2 samples chosen\n" in shown
    assert shell.ok("run", "diff", "split", "keys") == (
        "Only split saw 7 samples: k1, k2, k3, k4, k5, k6, k7\n"
        "Only keys saw 0 samples\n"
        "Both saw 2 samples\n"
        "  of them 1 sample with other labels: k0\n"
        f"From {first} to {second}:\n"
        " labels | +0 -0 ~1\n"
        " 1 column changed: 0 samples added, 0 deleted, 1 modified\n"
    )
    lines = shell.ok("run", "diff", "keys", "mix").splitlines()
    assert lines[0] == "Only keys saw 0 samples"
    assert lines[-1] == "What changed is not told, for a run read several commits."
    document = shell.json("run", "diff", "keys", "mix")
    assert [len(ids) for ids in document["commits"]] == [1, 2]
    assert "columns" not in document
