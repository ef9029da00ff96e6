"""``tvcs gc``."""

from __future__ import annotations

import contextlib

from tests.e2e.remote import clone, with_pictures
from tests.e2e.shell import Shell

__all__ = ["Shell"]


def with_garbage(shell: Shell) -> None:
    with_pictures(shell)
    shell.ok("branch", "gone")
    with shell.repository() as repo, repo.transaction("gone", "more") as tx:
        tx["images"].extend([[[[n, n, n]] * 16] * 16 for n in range(50)])
    shell.ok("branch", "--delete", "--force", "gone")


def test_garbage_waits_and_goes(shell: Shell) -> None:
    with_garbage(shell)
    assert shell.ok("gc").startswith("Dropped 0 objects and 0 values of 0 bytes")
    told = shell.ok("gc", "--dry-run", "--grace", "0")
    assert told.startswith("Would drop ")
    assert " and 50 values of " in told
    document = shell.json("gc", "--grace", "0")
    assert (document["value_count"], document["is_complete"]) == (50, True)
    assert document["object_count"] > 2
    assert shell.ok("gc", "--grace", "0").startswith("Dropped 0 objects and 0 values")
    assert shell.ok("verify").startswith("Sound")
    assert shell.fails("undo").startswith("Error: refs/heads/gone cannot point at ")


def test_what_nobody_named_is_told(shell: Shell) -> None:
    with_pictures(shell)
    with shell.repository() as repo:
        tx = repo.transaction()
        with contextlib.suppress(KeyError), tx as co:
            co["labels"]["lone"] = 7
            co.flush()
            raise KeyError
    assert "that became garbage less than 2w ago" in shell.ok("gc")


def test_a_clone_keeps_a_part(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell, "--columns", "images,labels")
    other.ok("fetch-data")
    lines = other.ok("gc", "--keep-bytes", "10kB").splitlines()
    assert lines[1].startswith("Of those in use ")
    assert "that the remote has" in lines[1]
    assert other.ok("fetch-data").startswith("Fetched ")


def test_what_there_is_not(shell: Shell) -> None:
    with_pictures(shell)
    assert shell.fails("gc", "--grace", "soon", code=2) == (
        "Error: Invalid value for '--grace': 'soon' is no length of time; "
        "write 2w, 3d, 12h, 30min or 0\nHint: see 'tvcs gc --help'\n"
    )
    assert shell.fails("gc", "--keep-bytes", "1GB").startswith(
        "Error: cannot keep only 1,000,000,000 bytes: no remote would give the others back"
    )
