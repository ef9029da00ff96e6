"""``tvcs bundle``, and a bundle as a remote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import ObjectNotFoundError
from tests.e2e.remote import PIXELS, beside, with_pictures

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


@pytest.fixture
def pets(shell: Shell) -> Shell:
    """Fifty pictures under tag v1, then another label."""
    with_pictures(shell)
    shell.commit({"0/00": 5}, "Five")
    return shell


def size_of(shell: Shell, name: str) -> int:
    return (shell.folder / name).stat().st_size


def test_a_bundle_holds_everything(pets: Shell) -> None:
    out = pets.ok("bundle", "create", "pets.bundle")
    nbytes = size_of(pets, "pets.bundle")
    assert out == f"Wrote pets.bundle, {nbytes / 1000:.1f} kB\n"
    assert pets.ok("bundle", "verify", "pets.bundle") == (
        f"pets.bundle is whole, {nbytes / 1000:.1f} kB\n"
        "7 objects, 50 values\n"
        f"branch main at {pets.id()[:12]}\n"
        f"tag v1 at {pets.id('v1')[:12]}\n"
    )
    # The same again replaces it, and outside of a repository it is checked as well.
    assert pets.ok("bundle", "create", "pets.bundle") == out
    outside = beside(pets, "outside")
    document = outside.json("bundle", "verify", "../data/pets.bundle")
    assert (
        document
        == {
            "path": str(pets.folder / "pets.bundle"),
            "nbytes": nbytes,
            "branches": {"main": pets.id()},
            "tags": {"v1": pets.id("v1")},
            "prerequisites": [],
            "part": None,
            "objects": 7,
            "values": 50,
            "absent": None,
        }
        or outside.folder != pets.folder
    )


def test_a_bundle_is_cloned(pets: Shell) -> None:
    pets.ok("bundle", "create", "../pets.bundle")
    there = beside(pets, "there")
    assert there.ok("clone", "../pets.bundle") == (
        f"Cloned ../pets.bundle into {there.folder / 'pets'}: branch main, 1 tag\n"
    )
    other = beside(pets, "there/pets")
    assert other.id() == other.id("origin/main")
    assert other.ok("verify").startswith("Sound: 2 commits")
    with other.repository() as repo, repo.checkout() as checkout:
        assert (checkout["images", "1/07"] == PIXELS[7]).all()
        assert not repo.is_partial
    assert other.ok("fetch") == "Nothing new at origin\n"
    assert other.ok("push") == "main of origin has all of it already\n"
    # As a URL.
    there.go(there.folder)
    there.ok("clone", "bundle://../pets.bundle", "by-url")
    url = beside(pets, "there/by-url").json("remote")[0]["url"]
    assert url == f"bundle://{pets.folder.parent / 'pets.bundle'}"
    assert beside(pets, "there/by-url").ok("fetch") == "Nothing new at origin\n"


def test_nothing_is_pushed_to_a_bundle(pets: Shell) -> None:
    pets.ok("bundle", "create", "../pets.bundle")
    there = beside(pets, "there")
    there.ok("clone", "../pets.bundle", "copy")
    other = beside(pets, "there/copy")
    other.set_variable("TENSORVCS_USER_NAME", "Bob")
    other.set_variable("TENSORVCS_USER_EMAIL", "bob@example.org")
    other.commit({"0/00": 6}, "Six")
    path = pets.folder.parent / "pets.bundle"
    before = path.read_bytes()
    expected = (
        f"Error: {path} is a bundle, which never changes; nothing was pushed\n"
        "Hint: make another one with 'tvcs bundle create'\n"
    )
    assert other.fails("push") == expected
    assert other.fails("push", "--delete", "origin", "main") == expected
    assert path.read_bytes() == before


def test_news_for_who_has_the_rest(pets: Shell) -> None:
    pets.ok("bundle", "create", "../all.bundle", "v1", "main")
    there = beside(pets, "there")
    there.ok("clone", "../all.bundle", "copy")
    pets.go(pets.folder)
    pets.commit({"0/02": 7}, "Seven")
    pets.ok("bundle", "create", "../news.bundle", "main", "--since", "v1")
    news, needed = pets.folder.parent / "news.bundle", pets.id("v1")[:12]
    assert size_of(pets, "../news.bundle") < size_of(pets, "../all.bundle") // 5
    assert pets.ok("bundle", "verify", "../news.bundle").endswith(
        f"branch main at {pets.id()[:12]}\nneeds {needed}\n"
    )
    other = beside(pets, "there/copy")
    assert other.json("bundle", "verify", str(news))["absent"] == []
    other.set_variable("TENSORVCS_USER_NAME", "Bob")
    other.set_variable("TENSORVCS_USER_EMAIL", "bob@example.org")
    other.ok("remote", "add", "news", str(news))
    assert other.ok("pull", "news").startswith("Fast-forward")
    assert other.id() == pets.id()
    assert other.ok("verify").startswith("Sound: 3 commits")
    # Who has not the rest is told what is missing, and has nothing of it.
    stranger = beside(pets, "stranger")
    stranger.ok("init", "--user-name", "Eve", "--user-email", "eve@example.org")
    stranger.ok("remote", "add", "news", str(news))
    expected = f"Error: {news} needs commits that are not here: {needed}\n"
    assert stranger.fails("fetch", "news") == expected + (
        "Hint: get these first, or ask for a bundle made with an older --since, or without it\n"
    )
    with stranger.repository() as repo:
        assert repo.stats().commit_count == 0
    result = stranger.run("bundle", "verify", str(news))
    assert (result.code, result.stderr) == (1, "Not here: 1 commit that it needs\n")
    assert stranger.fails("clone", str(news), "other") == expected + (
        "Hint: clone what it continues, and fetch from the bundle there\n"
    )
    assert not (stranger.folder / "other").exists()


def test_a_part(pets: Shell) -> None:
    pets.ok("bundle", "create", "../some.bundle", "main", "-k", "0/*", "--columns", "images,labels")
    shown = pets.ok("bundle", "verify", "../some.bundle")
    assert "objects, 25 values\nA part of each version: columns images, labels; keys 0/*\n" in shown
    assert pets.json("bundle", "verify", "../some.bundle")["part"] == {
        "columns": ["images", "labels"],
        "keys": ["0/*"],
        "max_bytes": None,
        "sample": "first",
        "seed": 0,
    }
    there = beside(pets, "there")
    assert there.ok("clone", "../some.bundle", "copy").startswith("Cloned a part of")
    with beside(pets, "there/copy").repository() as repo, repo.checkout() as checkout:
        assert repo.verify().absent_count == 25
        assert (checkout["images", "0/08"] == PIXELS[8]).all()
        with pytest.raises(ObjectNotFoundError):
            checkout["images", "1/07"]
    whole = beside(pets, "whole")
    whole.ok("init", "--user-name", "Eve", "--user-email", "eve@example.org")
    whole.ok("remote", "add", "some", "../some.bundle")
    assert whole.fails("fetch", "some") == (
        f"Error: {pets.folder.parent / 'some.bundle'} holds a part of each version only, and all "
        "is asked for\n"
        "Hint: clone it into a repository of its own, or ask for a whole bundle\n"
    )


def test_a_part_by_budget(pets: Shell) -> None:
    pets.ok("bundle", "create", "../some.bundle", "--max-bytes", "10kB", "--sample", "random")
    assert "values up to 10 kB, random\n" in pets.ok("bundle", "verify", "../some.bundle")
    there = beside(pets, "there")
    there.ok("clone", "../some.bundle", "copy")
    with beside(pets, "there/copy").repository() as repo:
        assert repo.verify().absent_count == 50 - 10_000 // PIXELS[0].nbytes
        assert repo.is_partial


def test_what_cannot_be_bundled(pets: Shell, bare_shell: Shell) -> None:
    assert pets.fails("bundle", "create", "x.bundle", "main~1") == (
        "Error: 'main~1' is neither a branch nor a tag that could be sent\n"
        "Hint: a bundle holds branches and tags; make one with 'tvcs branch' or 'tvcs tag'\n"
    )
    assert pets.fails("bundle", "create", "x.bundle", "--since", "main") == (
        "Error: the receiver has all of it already; there is nothing to bundle\n"
        "Hint: name an older commit with --since\n"
    )
    assert pets.fails("bundle", "create", "x.bundle", "--since", "nope").startswith(
        "Error: no branch, tag or commit is called 'nope'"
    )
    assert "cannot write" in pets.fails("bundle", "create", "no/folder/x.bundle")
    assert "Is a directory" in pets.fails("bundle", "create", ".")
    assert not list(pets.folder.glob("*.bundle"))
    assert not list(pets.folder.glob(".x.bundle*"))


def test_files_that_are_no_bundles(pets: Shell) -> None:
    pets.ok("bundle", "create", "pets.bundle")
    content = (pets.folder / "pets.bundle").read_bytes()
    cut, text = pets.folder / "cut.bundle", pets.folder / "text.bundle"
    cut.write_bytes(content[:-1])
    text.write_text("This is not a bundle, but a text of some length.")
    hint = (
        "Hint: get the file again from where it came; 'tvcs bundle verify' checks all of a bundle\n"
    )
    assert pets.fails("bundle", "verify", "cut.bundle") == (
        f"Error: {cut} is damaged: its end is not that of a whole bundle\n{hint}"
    )
    for command in (("bundle", "verify"), ("clone",)):
        assert pets.fails(*command, "text.bundle") == (
            f"Error: {text} is no bundle\n"
            "Hint: name a repository, or a file that 'tvcs bundle create' has made\n"
        )
    assert pets.fails("bundle", "verify", "absent.bundle").startswith(
        f"Error: there is no bundle at {pets.folder / 'absent.bundle'}\n"
    )
    changed = bytearray(content)
    place = content.index(PIXELS[7].tobytes())
    changed[place] ^= 1
    path = pets.folder / "pets.bundle"
    path.write_bytes(changed)
    assert "arrived as another value" in pets.fails("bundle", "verify", "pets.bundle")
    assert "arrived as another value" in beside(pets, "there").fails("clone", str(path))


def test_usage(pets: Shell) -> None:
    assert "Missing argument 'FILE'" in pets.fails("bundle", "create", code=2)
    assert "No such command" in pets.fails("bundle", "make", code=2)
    assert pets.run("bundle").code == 2
