"""``tvcs remote``."""

from __future__ import annotations

from tests.e2e.remote import clone, with_pictures
from tests.e2e.shell import Shell

__all__ = ["Shell"]


def test_add_list_remove(shell: Shell) -> None:
    assert shell.ok("remote") == "no remotes\n"
    assert shell.ok("remote", "add", "backup", "/data/backup") == (
        "Added remote backup at /data/backup\n"
    )
    shell.ok("remote", "add", "part", "../pets", "--columns", "a,b", "--max-bytes", "1MiB")
    pets = shell.folder.parent / "pets"
    assert shell.ok("remote") == f"backup  /data/backup\npart    {pets}  promisor\n"
    part = shell.json("remote")[1]
    assert (part["columns"], part["max_bytes"]) == (["a", "b"], 2**20)
    assert shell.ok("remote", "remove", "backup") == "Removed remote backup\n"
    assert shell.json("remote") == [part]


def test_options_of_the_service_behind_a_bucket(shell: Shell) -> None:
    options = ("-o", "region=eu-central-1", "-o", "url=x=y")
    shell.ok("remote", "add", "a", "s3://pets/one", "--no-check", *options)
    with shell.repository() as repo:
        remote = repo.remotes["a"]
        assert remote.options == {"region": "eu-central-1", "url": "x=y"}
        assert list(repo.remotes) == ["a"]
        assert "eu-central" not in repr(remote)
    shell.ok("config", "remote.a.option.endpoint", "http://127.0.0.1:1")
    with shell.repository() as repo:
        assert len(repo.remotes["a"].options) == 3
    shell.ok("remote", "remove", "a")
    assert "remote" not in shell.ok("config")
    assert "is not of the form NAME=VALUE" in shell.fails(
        "remote", "add", "a", "s3://pets/one", "-o", "region", code=2
    )


def test_remote_branches_go_with_their_remote(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell)
    other.ok("remote", "remove", "origin")
    assert other.fails("show", "origin/main").startswith("Error: no branch, tag or commit is")
    other.ok("undo")
    assert other.id("origin/main") == other.id()


def test_names_and_places_that_are_not_legal(shell: Shell) -> None:
    assert shell.fails("remote", "add", "a/b", "/x").startswith(
        "Error: remote name 'a/b' has a slash in it"
    )
    assert shell.fails("remote", "add", "a", " ").startswith("Error: the URL of a remote is ' '")
    shell.ok("remote", "add", "a", "/x")
    assert shell.fails("remote", "add", "a", "/y").startswith(
        "Error: remote 'a' exists already, at /x"
    )
    assert shell.fails("remote", "remove", "b").startswith("Error: no remote 'b'; there are: a")
