"""``tvcs serve``, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from tests.e2e.remote import beside, with_pictures
from tests.e2e.shell import ROOT, Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Shell"]


class Server:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], first_line: str) -> None:
        self.process = process
        self.first_line = first_line
        self.url = first_line.rsplit(" ", 1)[1]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, list[dict[str, Any]]]:
        """Send a signal; return the exit code, what else was printed, and the log."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, [json.loads(line) for line in err.splitlines()]


@contextlib.contextmanager
def serving(shell: Shell, *words: str) -> Iterator[Server]:
    """Serve the folder above that of a shell."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "serve", str(shell.folder.parent), "--port", "0", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Server(process, process.stdout.readline().rstrip("\n"))
    finally:
        process.kill()
        process.communicate()


def with_token(server: Server, secret: str) -> str:
    return server.url.replace("://", f"://{secret}@")


def clone_from(shell: Shell, url: str, *options: str) -> Any:
    """Return a shell in a clone of the repository of a shell."""
    folder = shell.folder.parent.parent / "copies" / "copy"
    shell.ok("clone", f"{url}/data", str(folder), *options)
    other = type(shell)(folder, shell._patch)
    for name, value in (("NAME", "Bob"), ("EMAIL", "bob@example.org")):
        other.set_variable(f"TENSORVCS_USER_{name}", value)
    return other


@pytest.fixture
def served(shell: Shell) -> Shell:
    """A shell in a repository called data, in a folder with nothing else."""
    root = shell.folder.parent / "root"
    root.mkdir()
    shell.folder.rename(root / "data")
    moved = type(shell)(root / "data", shell._patch)
    return with_pictures(moved)


def test_a_clone_a_commit_a_push(served: Shell) -> None:
    tokens = str(served.folder.parent.parent / "t.json")
    reader = served.ok("token", "add", tokens, "eve").strip()
    writer = served.ok("token", "add", tokens, "bob", "--right", "write").strip()
    first = served.short()
    with serving(served, "--token-file", tokens) as server:
        root = served.folder.parent
        assert server.first_line == f"Serving {root} at {server.url}"
        refused = served.fails("clone", f"{server.url}/data", "x")
        assert refused == (
            f"Error: {server.url}/data refuses: a token is needed\n"
            "Hint: put a token into the URL: https://TOKEN@host/name\n"
        )
        other = clone_from(served, with_token(server, writer))
        assert other.ok("log", "--oneline").split()[0] == first
        remotes = other.ok("remote")
        assert writer not in remotes
        assert server.url in remotes
        assert writer not in other.ok("op", "log")
        second = other.commit({"0/00": 5}, "Relabel")
        assert other.ok("push").startswith(f"Pushed main to origin from {first} to {second}: ")
        assert other.ok("push") == "main of origin has all of it already\n"
        other.ok("remote", "add", "eve", f"{with_token(server, reader)}/data")
        other.commit({"0/01": 5}, "Again")
        assert other.fails("push", "eve") == (
            f"Error: {server.url}/data refuses: 'eve' may read here, and not write\n"
            "Hint: ask for a token with the right write\n"
        )
        code, out, log = server.end()
    assert (code, out) == (0, "")
    users = {record.get("user") for record in log}
    assert users == {"", "eve", "bob"}
    text = json.dumps(log)
    assert reader not in text
    assert writer not in text
    served.go(served.folder)
    assert served.short() == second
    assert served.json("op", "log", "-n", "1")[0]["user"] == "bob"
    assert served.ok("verify").startswith("Sound: ")


def test_commits_of_others_are_not_lost(served: Shell) -> None:
    with serving(served, "--insecure-anonymous", "--rewritable", "wip/*") as server:
        other = clone_from(served, server.url)
        other.commit({"0/00": 5}, "Mine")
        other.ok("push")
        other.ok("reset", "HEAD~1")
        other.commit({"0/00": 6}, "Mine, better")
        assert "has commits that the branch here has not" in other.fails("push")
        assert "forced" in other.ok("push", "--force")
        code, _, _ = server.end(signal.SIGINT)
        assert code == 0


def test_a_repository_alone_and_read_only(served: Shell) -> None:
    folder = str(served.folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "-C", folder, "serve", "--port", "0", "--json"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    document = ""
    while not document.rstrip().endswith("}"):
        document += process.stdout.readline()
    found = json.loads(document)
    assert found["root"] == folder
    assert found["url"].endswith("/data")
    other = clone_from(served, found["url"].removesuffix("/data"))
    other.commit({"0/00": 5}, "Mine")
    assert "'anonymous' may read here, and not write" in other.fails("push")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert other.fails("fetch").startswith("Error: nobody answers at http://127.0.0.1:")


def test_a_partial_clone_reads_what_it_lacks(served: Shell) -> None:
    with serving(served) as server:
        other = clone_from(served, server.url, "--max-bytes", "0")
        with other.repository() as repo:
            assert repo.checkout()["images"]["0/02"].shape == (16, 16, 3)
        _, _, log = server.end()
    assert "values/stored" in {record.get("method") for record in log}


def test_wrong_words(served: Shell) -> None:
    assert "go together" in served.fails("serve", "--tls-cert", "c.pem", code=2)
    words = ("--insecure-anonymous", "--token-file", "t.json")
    assert "goes without" in served.fails("serve", *words, code=2)
    assert "--port" in served.fails("serve", "--port", "70000", code=2)
    assert served.fails("serve", "--host", "0.0.0.0") == (
        "Error: without tokens a server listens on this machine alone, and not at 0.0.0.0\n"
        "Hint: make a token with 'tvcs token add tokens.json NAME' and name the file with "
        "--token-file, or trust the whole network with --insecure-anonymous\n"
    )
    assert served.fails("serve", "nowhere").startswith("Error: there is no folder /")
    assert served.fails("serve", "--token-file", "none.json").startswith(
        "Error: the tokens in none.json cannot be read: "
    )
    served.ok("token", "add", "t.json", "ada")
    assert served.fails(
        "serve", "--token-file", "t.json", "--tls-cert", "t.json", "--tls-key", "t.json"
    ).startswith("Error: the certificate or its key cannot be used: ")


def test_a_server_without_its_packages(served: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("tensorvcs.server.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    assert served.fails("serve") == (
        "Error: serving needs the package 'starlette', which is not installed\n"
        "Hint: pip install 'tensorvcs[server]'\n"
    )


def test_over_pipes(served: Shell) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "serve", "--stdio", str(served.folder)],
        cwd=ROOT, input=b"", capture_output=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"", b"")
    done = subprocess.run(
        [sys.executable, "-m", "cli", "serve", "--stdio", "/nowhere/at/all"],
        cwd=ROOT, input=b"", capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: there is no repository at /nowhere/at/all\n")


def test_a_sibling_is_no_part_of_it(served: Shell) -> None:
    beside(served, "other").ok("init")
    with serving(served) as server:
        folder = str(served.folder.parent.parent / "x")
        for name in ("../t.json", "data/.tensorvcs", "nowhere"):
            assert "there is no repository at" in served.fails(
                "clone", f"{server.url}/{name}", folder
            )
        served.ok("clone", f"{server.url}/other", folder)


def test_a_folder_without_repositories_says_so(bare_shell: Shell) -> None:
    root = bare_shell.folder.parent / "none"
    root.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "serve", str(root), "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[-1]
        assert process.stdout.readline() == (
            f"No repository was found in it; make one with 'tvcs init --bare {root}/NAME', "
            "and it is served at once\n"
        )
        bare_shell.ok("init", "--bare", f"{root}/data")
        bare_shell.ok("clone", f"{url}/data", str(bare_shell.folder.parent / "copy"))
    finally:
        process.kill()
        process.communicate()
