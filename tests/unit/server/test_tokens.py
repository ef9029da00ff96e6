"""Tokens: who is known, for how long, and what the file never has."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tensorvcs.errors import AlreadyExistsError, InvalidInputError, NotFoundError, StorageError
from tensorvcs.server.tokens import Token, TokenFile, digest_of_secret

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def test_a_token_is_known_by_itself_alone(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "new" / "tokens.json")
    ada = file.add("ada", [("*", "write")])
    bob = file.add("bob", [("pets", "read"), ("team/*", "admin")])
    assert len(ada) >= 43
    assert ada != bob
    found = file.find(ada)
    assert found is not None
    assert found.name == "ada"
    for other in ("", ada[:-1], ada + "x", ada.lower(), digest_of_secret(ada), "é" * 40, "\ud800"):
        assert file.find(other) is None


def test_the_file_has_no_token_and_is_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    secret = TokenFile(path).add("ada", [("*", "write")])
    text = path.read_text()
    assert secret not in text
    assert json.loads(text) == {
        "tokens": [{"name": "ada", "sha256": digest_of_secret(secret), "rights": {"*": "write"}}]
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = TokenFile(path).find(secret)
    assert secret not in repr(token)
    assert digest_of_secret(secret) not in repr(token)
    assert [entry.name for entry in tmp_path.iterdir()] == ["tokens.json"]


def test_rights_are_those_of_the_patterns_that_fit() -> None:
    token = Token("t", "0" * 64, (("*", "read"), ("team/*", "write"), ("team/x", "admin")))
    assert token.right_in("pets") == "read"
    assert token.right_in("team/a") == "write"
    assert token.right_in("team/x") == "admin"
    other = Token("t", "0" * 64, (("pets", "write"),))
    assert other.right_in("pets2") is None
    assert other.right_in("Pets") is None
    assert other.visitor_in("x") is None
    visitor = other.visitor_in("pets")
    assert visitor is not None
    assert (visitor.name, visitor.right) == ("t", "write")


def test_a_token_expires(tmp_path: Path) -> None:
    now = NOW
    file = TokenFile(tmp_path / "t.json", lambda: now)
    secret = file.add("ci", [("*", "read")], NOW + dt.timedelta(days=1))
    assert file.find(secret) is not None
    now = NOW + dt.timedelta(days=1)
    assert file.find(secret) is None


def test_a_change_of_the_file_counts_at_once(tmp_path: Path) -> None:
    server, other = (TokenFile(tmp_path / "t.json") for _ in range(2))
    ada = other.add("ada", [("*", "read")])
    assert server.find(ada) is not None
    bob = other.add("bob", [("*", "read")])
    assert server.find(bob) is not None
    assert other.revoke("ada").name == "ada"
    assert server.find(ada) is None
    assert server.find(bob) is not None


def test_the_file_is_read_when_it_has_changed_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = TokenFile(tmp_path / "t.json")
    secret = file.add("ada", [("*", "read")])
    assert file.find(secret) is not None
    monkeypatch.setattr("tensorvcs.server.tokens._decode", lambda *_: pytest.fail("read again"))
    assert file.find(secret) is not None


def test_names_are_told_apart(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "t.json")
    file.add("ada", [("*", "read")])
    with pytest.raises(AlreadyExistsError, match="has a token 'ada' already"):
        file.add("ada", [("*", "read")])
    with pytest.raises(NotFoundError, match="no token 'bob'; there are: ada"):
        file.revoke("bob")
    for name in ("", " ", "a\nb"):
        with pytest.raises(InvalidInputError, match="a token has the name"):
            file.add(name, [("*", "read")])
    wrong: Any = "everything"
    with pytest.raises(InvalidInputError, match="rights other than read, write, admin"):
        file.add("eve", [("*", wrong)])
    with pytest.raises(InvalidInputError, match="without a time zone"):
        file.add("eve", [("*", "read")], dt.datetime(2026, 1, 1))
    assert [token.name for token in file.tokens()] == ["ada"]


GOOD = {"name": "a", "sha256": "0" * 64, "rights": {"*": "read"}}


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "7", '{"tokens": 7}', '{"tokens": [7]}', "[" * 100_000,
        *(
            json.dumps({"tokens": [{**GOOD, **change}]})
            for change in (
                {"name": 7}, {"sha256": "0"}, {"sha256": "z" * 64}, {"sha256": 7},
                {"rights": ["read"]}, {"rights": {"*": "all"}}, {"rights": {"*": ["read"]}},
                {"expires": "soon"}, {"expires": 7}, {"token": "in the clear"},
            )
        ),
        json.dumps({"tokens": [GOOD, GOOD]}),
    ],
)  # fmt: skip
def test_a_file_that_is_none_lets_nobody_in(tmp_path: Path, content: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(content)
    with pytest.raises(InvalidInputError, match=r"t\.json"):
        TokenFile(path).find("x")


def test_a_file_that_breaks_or_goes_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    file = TokenFile(path)
    secret = file.add("ada", [("*", "read")])
    assert file.find(secret) is not None
    path.write_text("{")
    for _ in range(2):
        with pytest.raises(InvalidInputError):
            file.find(secret)
    path.unlink()
    with pytest.raises(StorageError, match="cannot be read") as caught:
        file.find(secret)
    assert "tvcs token add" in (caught.value.hint or "")
    with pytest.raises(StorageError, match="cannot be read"):
        TokenFile(tmp_path).revoke("x")


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        TokenFile(tmp_path / "file" / "t.json").add("ada", [("*", "read")])


def test_a_file_too_large_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text("")
    os.truncate(path, 17 << 20)
    with pytest.raises(InvalidInputError, match="bytes"):
        TokenFile(path).tokens()
