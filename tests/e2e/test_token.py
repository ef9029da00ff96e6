"""``tvcs token``."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.shell import Shell

__all__ = ["Shell"]


def test_tokens_are_made_listed_and_revoked(bare_shell: Shell) -> None:
    secret = bare_shell.ok("token", "add", "t.json", "ada").strip()
    assert len(secret) >= 43
    other = bare_shell.json(
        "token", "add", "t.json", "ci", "--right", "write", "--repository", "pets",
        "--repository", "team/*", "--days", "90",
    )  # fmt: skip
    assert (other["name"], other["expires"]) == ("ci", "2026-04-02T03:04:05+01:00")
    text = Path("t.json").read_text()
    assert secret not in text
    assert other["token"] not in text
    assert bare_shell.ok("token", "list", "t.json") == (
        "ada  read *\nci   write pets, write team/*  until 2026-04-02\n"
    )
    assert bare_shell.json("token", "list", "t.json") == [
        {"name": "ada", "rights": {"*": "read"}, "expires": None},
        {
            "name": "ci",
            "rights": {"pets": "write", "team/*": "write"},
            "expires": "2026-04-02T03:04:05+01:00",
        },
    ]
    assert bare_shell.ok("token", "revoke", "t.json", "ada") == "Revoked the token of ada\n"
    assert bare_shell.json("token", "revoke", "t.json", "ci")["name"] == "ci"
    assert bare_shell.ok("token", "list", "t.json") == "no tokens\n"
    assert json.loads(Path("t.json").read_text()) == {"tokens": []}


def test_wrong_words(bare_shell: Shell) -> None:
    assert bare_shell.fails("token", "list", "t.json") == (
        "Error: the tokens in t.json cannot be read: No such file or directory\n"
        "Hint: make the first one with 'tvcs token add t.json NAME'\n"
    )
    bare_shell.ok("token", "add", "t.json", "ada")
    assert bare_shell.fails("token", "add", "t.json", "ada") == (
        "Error: t.json has a token 'ada' already\n"
        "Hint: choose another name, or revoke that one with 'tvcs token revoke'\n"
    )
    assert bare_shell.fails("token", "revoke", "t.json", "bob") == (
        "Error: t.json has no token 'bob'; there are: ada\n"
    )
    Path("x.json").write_text("{")
    assert bare_shell.fails("token", "list", "x.json").startswith(
        "Error: x.json is no file of tokens: "
    )
    assert "--right" in bare_shell.fails("token", "add", "t.json", "b", "--right", "all", code=2)
    assert "--days" in bare_shell.fails("token", "add", "t.json", "b", "--days", "0", code=2)
