"""``tvcs verify-commit``, and ``tvcs commit --sign``."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import UntrustedCommitError
from tensorvcs.signing.ed25519 import SshSigner
from tests.e2e.shell import DATE, ROOT, Result
from tests.ssh_keys import write_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.shell import Shell


@pytest.fixture
def key(shell: Shell) -> Path:
    """Ada's key, and a file that allows it."""
    key = write_key(shell.folder / "ada")
    signer = SshSigner.open(key)
    (shell.folder / "allowed").write_text(f"ada@example.org {signer.public_key}\n")
    return key


def fingerprint(key: Path) -> str:
    return SshSigner.open(key).fingerprint


def test_good(shell: Shell, key: Path) -> None:
    shell.stage({"a": 1})
    shell.ok("commit", "-m", "First", "--sign", "--key", "ada")
    assert shell.ok("verify-commit", "--allowed-signers", "allowed") == (
        f"{shell.short()} good: signed by ada@example.org with {fingerprint(key)}\n"
    )
    assert shell.json("verify-commit", "HEAD", "--allowed-signers", "allowed") == [
        {
            "commit": shell.id(),
            "status": "good",
            "principal": "ada@example.org",
            "fingerprint": fingerprint(key),
            "reason": f"signed by ada@example.org with {fingerprint(key)}",
        }
    ]


def test_settings_name_the_files_from_the_folder_of_the_repository(shell: Shell, key: Path) -> None:
    shell.ok("config", "signing.key", "ada")
    shell.ok("config", "--global", "signing.allowed-signers", str(shell.folder / "allowed"))
    shell.stage({"a": 1})
    shell.go(shell.folder / "below")
    shell.ok("commit", "-m", "First", "-S")
    assert " good: " in shell.ok("verify-commit")
    with shell.repository() as repo:
        assert repo.verify_commit().status == "unknown"
        repo.set_config("signing.allowed-signers", "allowed")
        assert repo.verify_commit().is_good
        assert repo.verify_commit("main", shell.folder / "allowed").is_good


def test_shown_by_show_and_log(shell: Shell, key: Path) -> None:
    shell.stage({"a": 1})
    document = shell.json("commit", "-m", "First", "--key", "ada", "--meta", "source=uni-3")
    assert document["signature"].startswith("-----BEGIN SSH SIGNATURE-----\n")
    head = (
        f"commit {shell.id()} (HEAD -> main)\n"
        "Author: Ada <ada@example.org>\n"
        f"Date:   {DATE}\n"
        "Meta:   source=uni-3\n"
        f"Signed: {fingerprint(key)}, not checked here\n"
        "\n"
        "    First\n"
    )
    assert shell.ok("log") == head
    assert shell.ok("show").startswith(head)
    (logged,) = shell.json("log")
    assert logged["signature"] == document["signature"]
    assert logged["metadata"] == {"source": "uni-3"}


def test_the_same_again_has_the_same_id(shell: Shell, key: Path) -> None:
    ids = []
    for _ in range(2):
        shell.stage({"a": 1})
        shell.ok("commit", "-m", "First", "--key", "ada")
        ids.append(shell.id())
        shell.ok("undo")
    assert ids[0] == ids[1]


def test_not_good(shell: Shell, key: Path) -> None:
    shell.commit({"a": 1}, "First")
    assert shell.run("verify-commit", "--allowed-signers", "allowed") == (
        Result(
            f"{shell.short()} unsigned: the commit has no signature\n",
            f"Error: {UntrustedCommitError('without a good signature: 1 of 1 commit')}\n"
            "Hint: commits are signed with 'tvcs commit --sign'\n",
            1,
        )
    )
    write_key(shell.folder / "other", 2)
    shell.stage({"a": 2})
    shell.ok("commit", "-m", "Second", "--key", "other")
    shell.stage({"a": 3})
    shell.ok("commit", "-m", "Third", "--key", "ada")
    found = shell.run("verify-commit", "main", "main~1", "main~2", "--allowed-signers", "allowed")
    other = fingerprint(shell.folder / "other")
    assert found == Result(
        f"{shell.short()} good: signed by ada@example.org with {fingerprint(key)}\n"
        f"{shell.short('main~1')} unknown: signed with {other}, but no line of allowed has the "
        "key\n"
        f"{shell.short('main~2')} unsigned: the commit has no signature\n",
        "Error: without a good signature: 2 of 3 commits\n"
        "Hint: name the keys you trust in a file of lines such as: MAIL ssh-ed25519 AAAA…; then "
        "'tvcs config signing.allowed-signers FILE'\n",
        1,
    )
    assert shell.run("verify-commit", "main~2..main", "--allowed-signers", "allowed").stdout == (
        "".join(found.stdout.splitlines(keepends=True)[:2])
    )
    assert shell.fails("verify-commit", "main..main~1") == (
        "Error: there is no commit in 'main..main~1'\n"
    )
    result = shell.run("verify-commit", "--json")
    assert (result.code, result.document[0]["status"]) == (1, "unknown")
    assert result.document[0]["reason"].endswith("but no allowed signers are named")


def test_the_signer_is_the_committer_not_the_author(shell: Shell, key: Path) -> None:
    shell.stage({"a": 1})
    shell.ok("commit", "-m", "x", "--key", "ada", "--author", "Bob <bob@example.org>")
    assert "Commit: Ada <ada@example.org>\n" in shell.ok("show")
    shell.ok("verify-commit", "--allowed-signers", "allowed")
    shell.set_variable("TENSORVCS_USER_NAME", "Bob")
    shell.set_variable("TENSORVCS_USER_EMAIL", "bob@example.org")
    shell.stage({"a": 2})
    shell.ok("commit", "-m", "x", "--key", "ada")
    found = shell.run("verify-commit", "--allowed-signers", "allowed")
    assert "line 1 has the key for ada@example.org, not for bob@example.org" in found.stdout
    assert found.code == 1


def test_refused(shell: Shell, key: Path) -> None:
    shell.stage({"a": 1})
    assert shell.fails("commit", "-m", "x", "--sign") == (
        "Error: no key to sign with is named\n"
        "Hint: --key FILE, or once for all: tvcs config --global signing.key ~/.ssh/id_ed25519\n"
    )
    assert shell.fails("commit", "-m", "x", "--key", "nothing") == (
        "Error: there is no key file 'nothing'\nHint: make one: ssh-keygen -t ed25519\n"
    )
    assert shell.fails("commit", "-m", "x", "--key", "allowed").startswith(
        "Error: allowed holds no private key of OpenSSH\n"
    )
    write_key(shell.folder / "locked", 3, "correct horse")
    assert shell.fails("commit", "-m", "x", "--key", "locked").startswith(
        "Error: the key locked is encrypted, and no passphrase was given\nHint: run it on a "
    )
    assert shell.json("status")["is_dirty"]
    shell.ok("commit", "-m", "x")
    assert shell.fails("verify-commit", "--allowed-signers", "nothing").startswith(
        "Error: there is no allowed-signers file 'nothing'\nHint: "
    )
    (shell.folder / "allowed").write_text("\nada@example.org cert-authority ssh-ed25519 AAAA\n")
    assert shell.fails("verify-commit", "--allowed-signers", "allowed").startswith(
        "Error: allowed, line 2: "
    )
    assert shell.fails("verify-commit", "nothing").startswith("Error: ")


def test_a_near_miss_of_a_setting_is_noted(shell: Shell) -> None:
    result = shell.run("config", "signing.keys", "ada")
    assert result.code == 0
    assert "did you mean 'signing.key'?" in result.stderr


@pytest.mark.parametrize(("answer", "code"), [("correct horse", 0), ("Tr0ub4dor", 1)])
def test_the_passphrase_is_asked_on_a_terminal(shell: Shell, answer: str, code: int) -> None:
    locked = write_key(shell.folder / "locked", 3, "correct horse")
    shell.stage({"a": 1})
    terminal, end = pty.openpty()
    arguments = ["-C", str(shell.folder), "commit", "-m", "x", "--key", str(locked)]
    child = subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments],
        stdin=end,
        stdout=subprocess.PIPE,
        stderr=end,
        cwd=ROOT,
        start_new_session=True,
    )
    os.close(end)
    shown = b""
    while not shown.endswith(f"Passphrase of {locked}: ".encode()):
        shown += os.read(terminal, 1)
    os.write(terminal, answer.encode() + b"\n")
    child.communicate(timeout=60)
    shown += os.read(terminal, 10_000)
    os.close(terminal)
    assert child.returncode == code
    assert (b"the passphrase is wrong" in shown) == bool(code)
    assert answer.encode() not in shown
