"""Several processes that change one file of settings or tokens at a time lose no change."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

import pytest

import tensorvcs as tv
from cli.context import Caller
from tensorvcs.errors import AlreadyExistsError
from tensorvcs.server.tokens import TokenFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

PROCESSES, CHANGES = 4, 8
NAMES = sorted(f"p{number}n{n}" for number in range(PROCESSES) for n in range(CHANGES))


def set_option(place: Path, name: str) -> None:
    with tv.open(place) as repo:
        repo.set_config(f"a.{name}", name)
        repo.set_config(f"b.{name}", name)
        repo.set_config(f"b.{name}", None)


def add_remote(place: Path, name: str) -> None:
    with tv.open(place) as repo:
        repo.add_remote(name, "https://example.org/x")
        repo.add_remote(f"{name}-gone", "https://example.org/x")
        repo.remove_remote(f"{name}-gone")


def add_token(place: Path, name: str) -> None:
    tokens = TokenFile(place / "new" / "tokens.json")
    tokens.add(name, [("*", "read")])
    tokens.add(f"{name}-gone", [("*", "read")])
    tokens.revoke(f"{name}-gone")


def set_user_option(place: Path, name: str) -> None:
    Caller(str(place), None).set_user_setting(f"a.{name}", name)


def change_all(change: Callable[[Path, str], None], place: Path, number: int) -> None:
    for name in NAMES:
        if name.startswith(f"p{number}n"):
            change(place, name)


def change_at_once(change: Callable[[Path, str], None], place: Path) -> None:
    """Have processes make their changes, all at a time."""
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=change_all, args=(change, place, number))
        for number in range(PROCESSES)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0


def test_no_option_is_lost(tmp_path: Path) -> None:
    tv.init(tmp_path).close()
    change_at_once(set_option, tmp_path)
    with tv.open(tmp_path) as repo:
        assert repo.config == {f"a.{name}": name for name in NAMES}


def test_no_remote_is_lost(tmp_path: Path) -> None:
    tv.init(tmp_path).close()
    change_at_once(add_remote, tmp_path)
    with tv.open(tmp_path) as repo:
        assert sorted(repo.remotes) == NAMES


def test_no_token_is_lost(tmp_path: Path) -> None:
    change_at_once(add_token, tmp_path)
    found = TokenFile(tmp_path / "new" / "tokens.json")
    assert sorted(token.name for token in found.tokens()) == NAMES


def test_no_option_of_the_user_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    change_at_once(set_user_option, tmp_path)
    assert Caller(str(tmp_path), None).user_settings() == {f"a.{name}": name for name in NAMES}


def test_of_two_who_add_one_name_the_second_is_refused(tmp_path: Path) -> None:
    tv.init(tmp_path).close()
    with tv.open(tmp_path) as first, tv.open(tmp_path) as second:
        first.add_remote("there", "https://example.org/x")
        with pytest.raises(AlreadyExistsError, match=r"at https://example.org/x"):
            second.add_remote("there", "https://example.org/y")
        assert second.remotes["there"].url == "https://example.org/x"
