"""``tvcs clone``."""

from __future__ import annotations

import pytest

from tensorvcs.errors import ObjectNotFoundError, PromisorAwayError
from tests.e2e.remote import PIXELS, beside, clone, with_pictures
from tests.e2e.shell import Shell

__all__ = ["Shell"]


def test_a_clone_has_everything(shell: Shell) -> None:
    with_pictures(shell)
    target = shell.folder.parent / "copy"
    assert shell.ok("clone", str(shell.folder), str(target)) == (
        f"Cloned {shell.folder} into {target}: branch main, 1 tag\n"
    )
    other = beside(shell)
    assert other.id("v1") == other.id("origin/main") == other.id("main")
    with other.repository() as repo, repo.checkout() as checkout:
        assert (checkout["images", "1/07"] == PIXELS[7]).all()
        assert not repo.is_partial
        assert repo.verify().is_sound
    assert other.json("remote") == [
        {
            "name": "origin",
            "url": str(shell.folder),
            "is_promisor": False,
            "columns": None,
            "keys": None,
            "max_bytes": None,
            "sample": "first",
            "seed": 0,
            "depth": None,
        }
    ]


def test_an_empty_repository_can_be_cloned(shell: Shell) -> None:
    shell.ok("switch", "-c", "trunk")
    assert clone(shell).ok("status").startswith("On branch trunk")


def test_a_part_is_taken_and_the_rest_is_fetched_when_it_is_read(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell, "--key", "0/*")
    with other.repository() as repo, repo.checkout() as checkout:
        assert repo.is_partial
        values = repo.stats().packs.value_count
        assert values == 25
        assert len(checkout["images"]) == 50
        assert (checkout["images"]["0/08"] == PIXELS[8]).all()
        assert repo.stats().packs.value_count == values
        assert (checkout["images"][["1/07", "1/09"]] == PIXELS[[7, 9]]).all()
        assert repo.stats().packs.value_count == values + 2
        report = repo.verify()
        assert report.is_sound
        assert report.absent_count == 23
        assert (checkout["images"][:] == PIXELS[[*range(0, 50, 2), *range(1, 50, 2)]]).all()
        assert repo.verify().absent_count == 0
        assert repo.stats().packs.value_count == 50


def test_columns_that_are_not_taken(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell, "--columns", "labels", "--no-lazy")
    with other.repository() as repo, repo.checkout() as checkout:
        assert checkout["labels", "1/07"] == 1
        assert len(checkout["images"]) == 50
        assert repo.stats().packs.value_count == 0
    assert "images | not here" in other.ok("show")
    assert other.fails("blame", "images") == (
        "Error: 1 tree node is not in this partial clone, which fetches nothing\n"
        "Hint: bring them with 'tvcs fetch-data', or let them be fetched when they are read: "
        "tvcs config remote.origin.promisor true\n"
    )
    other.ok("config", "remote.origin.promisor", "true")
    assert "images | +50" in other.ok("show")
    other.ok("config", "--unset", "remote.origin.promisor")
    other.ok("fetch-data", "--key", "1/*")
    with other.repository() as repo, repo.checkout() as checkout:
        assert (checkout["images", "1/07"] == PIXELS[7]).all()
        with pytest.raises(ObjectNotFoundError, match="which fetches nothing"):
            checkout["images", "0/08"]


def test_a_budget_and_a_clone_that_is_offline(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell, "--max-bytes", "8KB", "--sample", "stratified:labels")
    with other.repository() as repo:
        # Ten pictures of 768 bytes, half of each label.
        assert repo.stats().packs.value_count == 10
    shell.folder.rename(shell.folder.with_name("away"))
    with other.repository() as repo, repo.checkout() as checkout:
        assert len(list(checkout["images"].keys())) == 50
        with pytest.raises(PromisorAwayError, match=r"40 values are not in this partial clone"):
            checkout["images"][:]
    assert other.ok("log", "--oneline").endswith("Pictures\n")
    assert other.ok("blame", "labels", "0/08").count("Pictures") <= 1


def test_work_goes_on_in_a_part(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell, "--columns", "labels")
    other.stage({"0/08": 7})
    other.ok("commit", "-m", "Relabel")
    assert "~1" in other.ok("diff", "HEAD~1", "HEAD", "--stat")
    other.ok("push")
    with shell.repository() as repo, repo.checkout("main") as checkout:
        assert checkout["labels", "0/08"] == 7
        assert repo.verify().is_sound


def test_folders_that_cannot_take_a_clone(shell: Shell) -> None:
    with_pictures(shell)
    target = shell.folder.parent / "copy"
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    assert shell.fails("clone", str(shell.folder), str(target)) == (
        f"Error: {target} is not empty; a clone needs a new or an empty folder\n"
    )
    assert shell.fails("clone", str(shell.folder), str(shell.folder)).startswith(
        f"Error: {shell.folder} is the repository"
    )
    (target / "notes.txt").unlink()
    other = clone(shell, "--branch", "main")
    assert shell.fails("clone", str(shell.folder), str(other.folder)).startswith(
        f"Error: {other.folder} is the repository"
    )


def test_sources_that_are_none(shell: Shell) -> None:
    nowhere = shell.folder.parent / "nowhere"
    assert shell.fails("clone", str(nowhere), "x").startswith(
        f"Error: there is no repository at {nowhere}\nHint: "
    )
    assert shell.fails("clone", "ftp://host/x").startswith("Error: cannot reach a remote by 'ftp'")
    with_pictures(shell)
    assert shell.fails("clone", str(shell.folder), "x", "-b", "nope") == (
        f"Error: the repository at {shell.folder} has no branch 'nope'\n"
        "Hint: branches there are: main\n"
    )
    assert shell.fails("clone", str(shell.folder), "x", "--columns", "nope,images") == (
        "Error: the version to clone has no column 'nope'; there are: images, labels\n"
    )
    assert shell.fails("clone", str(shell.folder), "x", "--sample", "random").endswith(
        "Hint: give max_bytes as well (--max-bytes 200MB)\n"
    )
    assert not (shell.folder / "x").exists()
    errors = shell.fails("clone", str(shell.folder), "x", "--max-bytes", "much", code=2)
    assert "'much' is no size; write 200MB or 1.5GiB" in errors


def test_a_depth_and_how_it_grows(shell: Shell) -> None:
    with_pictures(shell)
    shell.stage({"0/08": 7})
    shell.ok("commit", "-m", "Relabel")
    other = clone(shell, "--depth", "1", "--no-lazy")
    assert [line.split(" ", 1)[1] for line in other.ok("log", "--oneline").splitlines()] == [
        "(HEAD -> main) Relabel",
        "(tag: v1) Pictures",
    ]
    assert other.ok("stats").splitlines()[-2:] == [
        "images  uint8 (16, 16, 3)  50 samples, 50 of them here",
        "labels  int64 ()           50 samples, 50 of them here; keys of 1 of 2 versions",
    ]
    assert "labels | not here" in other.ok("show")
    assert other.fails("blame", "labels").startswith(
        "Error: 1 tree node is not in this partial clone, which fetches nothing\n"
        "Hint: bring them with 'tvcs fetch-data', or older versions with 'tvcs fetch origin "
        "--depth N', or let them be fetched"
    )
    assert other.ok("fetch", "--depth", "2").startswith("From origin: 0 commits, 0 values, ")
    assert "labels | +0 -0 ~1" in other.ok("show")
    assert other.ok("fetch", "--depth", "all") == "Nothing new at origin\n"
    with other.repository() as repo:
        assert not repo.is_partial
        assert repo.verify().absent_count == 0
    errors = other.fails("fetch", "--depth", "none", code=2)
    assert "'none' is no depth; write a number from 1, or all" in errors
    assert other.fails("fetch", "origin", "main", "--depth", "2") == (
        "Error: a depth is that of all branches; name none of them\n"
    )


def test_commands_that_do_without_what_is_absent_work_offline(shell: Shell) -> None:
    with_pictures(shell)
    shell.ok("switch", "-c", "dev")
    recolour(shell, "0/08", 40)
    shell.ok("switch", "main")
    recolour(shell, "0/08", 41)
    other = clone(shell, "--columns", "images,labels", "--key", "1/*")
    shell.folder.rename(shell.folder.with_name("away"))
    assert other.ok("status").startswith("On branch main")
    assert other.ok("log", "--oneline", "--column", "images").count("\n") == 2
    assert "images | +0 -0 ~1" in other.ok("show")
    assert "images | +0 -0 ~1" in other.ok("diff", "HEAD~1", "HEAD", "--stat")
    assert "~0/08" in other.ok("diff", "HEAD~1", "HEAD").replace(" ", "")
    assert "the values are not here" in other.ok("history", "images", "0/08")
    assert other.json("history", "images", "0/08")["changes"][0]["is_here"] is False
    assert other.ok("blame", "images", "1/07").endswith("1/07\n")
    assert "23 of them here" not in other.ok("stats")
    assert other.run("merge", "origin/dev", "--keep-conflicts").code == 1
    assert other.ok("conflicts").count("not here") == 3
    other.ok("resolve", "images", "0/08", "--theirs")
    other.ok("merge", "--continue")
    for command in (["view", "images", "0/08"], ["diff", "HEAD~1", "HEAD", "--show"]):
        result = other.run(*command)
        assert result.code == 1
        error = result.stderr
        assert error.startswith("Error: ")
        assert "not in this partial clone, and remote 'origin' at " in error
        assert "'tvcs fetch-data' brings values" in error


def recolour(shell: Shell, key: str, number: int) -> None:
    """Commit another picture for a sample."""
    with shell.repository() as repo, repo.edit() as staging:
        staging["images"][key] = PIXELS[number] ^ 255
    shell.ok("commit", "-m", f"Recolour {key}")
