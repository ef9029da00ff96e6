"""Clone, push, fetch, pull and fetch-data of a bucket: in a folder, and behind a real server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tensorvcs.errors import RemoteError
from tests.buckets import SERVICES, FolderBucket, careless_server
from tests.e2e.remote import PIXELS, beside, with_pictures
from tests.e2e.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tensorvcs.sync.bucket import Bucket
    from tests.buckets import Services

__all__ = ["Shell"]

pytest.importorskip("obstore")


@dataclass(frozen=True)
class Place:
    """The URL of a bucket, and what is typed behind it."""

    url: str
    options: list[str]


def words(options: Mapping[str, str]) -> list[str]:
    return [word for key, value in options.items() for word in ("--option", f"{key}={value}")]


@pytest.fixture(params=["folder", *SERVICES])
def place(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    if request.param == "folder":

        def open_bucket(url: str, options: Mapping[str, str]) -> Bucket:
            return FolderBucket(tmp_path / "buckets" / url.partition("://")[2], url)

        monkeypatch.setattr("tensorvcs.sync.bucket.open_bucket", open_bucket)
        return Place("s3://pets/one", [])
    service = services.get(request.param)
    (tmp_path / "secrets").mkdir()
    url = f"{service.url}/{services.new_name()}"
    return Place(url, words(service.kept_options(tmp_path / "secrets")))


def cloned(shell: Shell, place: Place, *options: str, name: str = "copy") -> Any:
    """Return a shell of Bob in a clone of the bucket."""
    shell.ok("clone", place.url, str(shell.folder.parent / name), *place.options, *options)
    other = beside(shell, name)
    other.set_variable("TENSORVCS_USER_NAME", "Bob")
    other.set_variable("TENSORVCS_USER_EMAIL", "bob@example.org")
    return other


@pytest.fixture
def pets(shell: Shell, place: Place) -> Shell:
    """A repository that was pushed to the bucket."""
    with_pictures(shell)
    assert shell.ok("remote", "add", "origin", place.url, *place.options) == (
        f"Added remote origin at {place.url}\n"
    )
    assert shell.ok("push").startswith(f"Pushed new main to origin at {shell.short()}: 1 commit, ")
    assert shell.ok("push", "--tag", "v1").startswith("Pushed new tag v1 to origin at ")
    return shell


def test_all_of_it_there_and_back(pets: Shell, place: Place) -> None:
    assert pets.ok("push") == "main of origin has all of it already\n"
    other = cloned(pets, place)
    assert other.id("v1") == other.id("origin/main") == other.id("main") == pets.id()
    with other.repository() as repo, repo.checkout() as checkout:
        assert (checkout["images", "1/07"] == PIXELS[7]).all()
        assert not repo.is_partial
        assert repo.verify().is_sound


def test_two_who_work_at_once(pets: Shell, place: Place) -> None:
    other = cloned(pets, place)
    second = other.commit({"0/00": 5}, "Bob's")
    assert "1 commit, 0 values, " in other.ok("push")
    pets.go(pets.folder)
    mine = pets.commit({"0/02": 7}, "Ada's")
    assert pets.fails("push") == (
        "Error: branch 'main' of remote 'origin' has commits that the branch here has not; "
        "nothing was pushed\n"
        "Hint: bring them in with 'tvcs pull origin main', then push again\n"
    )
    assert f"forward   origin/main from {pets.short('v1')} to {second}\n" in pets.ok("fetch")
    assert pets.ok("pull").startswith("Merged")
    pets.ok("push")
    other.go(other.folder)
    assert other.ok("pull").startswith("Fast-forward")
    assert other.id() == pets.id()
    assert mine in other.ok("log", "--oneline")
    with other.repository() as repo, repo.checkout() as checkout:
        assert (checkout["labels", "0/00"], checkout["labels", "0/02"]) == (5, 7)
    other.ok("push", "origin", "main:side")
    assert other.ok("push", "origin", "side", "--delete").startswith("Deleted side of origin")


def test_a_part_and_the_rest(pets: Shell, place: Place) -> None:
    other = cloned(pets, place, "--key", "0/*")
    with other.repository() as repo, repo.checkout() as checkout:
        assert repo.stats().packs.value_count == 25
        assert (checkout["images"][["1/07", "1/09"]] == PIXELS[[7, 9]]).all()
        assert repo.stats().packs.value_count == 27
    assert other.json("fetch-data", "--key", "1/1*")["values"] == 5
    other.ok("fetch-data")
    with other.repository() as repo:
        assert repo.verify().absent_count == 0
    budget = cloned(pets, place, "--max-bytes", "8kB", "--sample", "stratified:labels", name="few")
    with budget.repository() as repo:
        assert repo.stats().packs.value_count == 10


def test_a_bucket_that_is_empty(shell: Shell, place: Place) -> None:
    errors = shell.fails("clone", place.url, "copy", *place.options)
    assert errors == (
        f"Error: there is no repository at {place.url}\nHint: the first push to it makes one\n"
    )
    assert not (shell.folder / "copy").exists()


# Options


def test_secrets_are_not_kept(shell: Shell, tmp_path: Path) -> None:
    option = ["--option", "secret_access_key=s3cr3t"]
    expected = (
        "Error: option 'secret_access_key' is a secret, and the settings would keep it in the "
        "clear\n"
        "Hint: leave it where the service looks for it, such as AWS_SECRET_ACCESS_KEY, or name a "
        "file that holds it: --option secret_access_key=file:PATH\n"
    )
    assert shell.fails("remote", "add", "a", "s3://pets/one", *option) == expected
    assert shell.fails("clone", "s3://pets/one", "copy", *option) == expected
    shell.ok("remote", "add", "a", "s3://pets/one", "--no-check", "--option", "region=x")
    name = "remote.a.option.secret_access_key"
    assert shell.fails("config", name, "s3cr3t") == expected
    shell.ok("config", name, "file:../secret")
    assert shell.ok("config", name) == f"file:{tmp_path / 'secret'}\n"
    assert shell.fails("fetch", "a").startswith(
        f"Error: option 'secret_access_key' cannot be read from {tmp_path / 'secret'}: "
    )
    shell.ok("remote", "add", "b", "https://t0ken@host/pets")
    for shown in (shell.ok("config"), shell.ok("config", "--json"), shell.ok("remote")):
        assert "t0ken" not in shown
        assert "s3cr3t" not in shown
    assert shell.ok("config", "remote.b.url") == "https://host/pets\n"


def test_a_bucket_that_does_not_answer_is_added(shell: Shell) -> None:
    options = words({"endpoint": "http://127.0.0.1:1", "allow_http": "true", "region": "x",
                     "skip_signature": "true"})  # fmt: skip
    result = shell.run("remote", "add", "a", "s3://pets/one", *options)
    assert (result.code, result.stdout) == (0, "Added remote a at s3://pets/one\n")
    assert result.stderr.startswith("Note: s3://pets/one/probes/")
    result = shell.run("remote", "add", "b", "s3://pets/one", "--option", "nonsense=1")
    assert result.code == 0
    assert result.stderr.startswith("Note: s3://pets/one cannot be reached so: ")
    assert len(shell.ok("remote").splitlines()) == 2


def test_a_service_that_ignores_conditions(shell: Shell, tmp_path: Path) -> None:
    with careless_server(tmp_path / "served") as careless:
        (tmp_path / "secrets").mkdir()
        options = words(careless.kept_options(tmp_path / "secrets"))
        url = f"{careless.url}/one"
        result = shell.run("remote", "add", "origin", url, *options)
        problem = f"{url} writes whether or not conditions hold: of two pushes at a time one "
        assert result.code == 0
        assert result.stderr.startswith(f"Note: {problem}")
        assert result.stderr.endswith(
            "Hint: reading works; to push, put a server before the data: 'tvcs serve'\n"
        )
        with_pictures(shell)
        assert shell.fails("push").startswith(f"Error: {problem}")
        with shell.repository() as repo, pytest.raises(RemoteError, match="conditions hold"):
            repo.check_remote("origin")
