"""Buckets of real services: a repository in each does what one in memory does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import (
    ConflictError,
    NonFastForwardError,
    RemoteError,
    RepositoryNotFoundError,
)
from tensorvcs.sync import bucket_contents
from tensorvcs.sync.bucket import Bucket
from tests.buckets import SERVICES, Service, Services, careless_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("obstore")

PIXELS = np.random.default_rng(0).integers(0, 256, (600, 16, 16, 3), np.uint8)


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, services: Services) -> Service:
    return services.get(request.param)


@pytest.fixture
def name(services: Services) -> str:
    """A prefix of its own for each test."""
    return services.new_name()


@pytest.fixture
def options(service: Service, tmp_path: Path) -> dict[str, str]:
    """The options of the service without its secrets, which are in files."""
    return service.kept_options(tmp_path)


@pytest.fixture
def pets(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path / "pets", "Ada", "ada@example.org") as repo:
        with repo.edit() as co:
            co.add_ndarray_column("images", (16, 16, 3), "uint8").extend(PIXELS)
            co.add_ndarray_column("masks", (64,), "uint8").extend(
                np.arange(600, dtype=np.uint8)[:, None].repeat(64, 1)
            )
            co.add_ndarray_column("labels", (), "int64").extend(np.arange(600) % 7)
            co.add_str_column("notes").update({i: f"note {i}" * 30 for i in range(50)})
            co.commit("First")
        repo.create_tag("v1", message="One")
        yield repo


def relabel(repo: tv.Repository, key: int, label: int) -> None:
    with repo.edit() as co:
        co["labels"][key] = label
        co.commit(f"{key} is {label}")


def cloned(service: Service, name: str, folder: Path, **options: Any) -> tv.Repository:
    url = f"{service.url}/{name}"
    kept = service.kept_options(folder.parent)
    return tv.clone(
        url, folder, options=kept, user_name="Bob", user_email="bob@example.org", **options
    )


def test_files_and_conditions(service: Service, name: str) -> None:
    bucket = service.open(name)
    assert bucket.list_files("bundles") == {}
    assert bucket.get("refs.json") is None
    content = bytes(range(256)) * 100
    bucket.put("bundles/a", content)
    assert bucket.list_files("bundles") == {"a": len(content)}
    ranges = [(500, 20), (0, 0), (25_000, 600), (3, 1)]
    assert [bytes(v) for v in bucket.read("bundles/a", ranges)] == [
        content[start : start + nbytes] for start, nbytes in ranges
    ]
    with pytest.raises(RemoteError):
        bucket.read("bundles/none", [(0, 1)])
    bucket.check_conditions()
    assert bucket.list_files("probes") == {}


def test_many_at_a_time_and_one_wins(service: Service, name: str) -> None:
    buckets = [service.open(name) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: buckets[n].create("refs", b"%d" % n), range(8)))
        assert sum(version is not None for version in made) == 1
        found = buckets[0].get("refs")
        assert found is not None
        replaced = list(
            pool.map(lambda n: buckets[n].replace("refs", b"x%d" % n, found[1]), range(8))
        )
    assert sum(version is not None for version in replaced) == 1


def test_push_clone_pull_and_back(
    service: Service, name: str, options: dict[str, str], pets: tv.Repository, tmp_path: Path
) -> None:
    url = f"{service.url}/{name}"
    with pytest.raises(RepositoryNotFoundError, match="no repository at"):
        cloned(service, name, tmp_path / "none")
    pets.add_remote("origin", url, options=options)
    assert pets.push().movement == "new"
    assert pets.push().movement == "up to date"
    pets.push_tag("origin", "v1")
    with cloned(service, name, tmp_path / "copy") as copy:
        assert copy.resolve("v1") == copy.resolve("main") == pets.resolve("main")
        assert copy.verify().is_sound
        with copy.checkout() as checkout:
            assert (checkout["images"][:] == PIXELS).all()
        relabel(copy, 3, 33)
        copy.push()
        relabel(pets, 4, 44)
        with pytest.raises(NonFastForwardError):
            pets.push()
        pets.pull()
        pets.push()
        copy.pull()
        with copy.checkout() as checkout:
            assert (checkout["labels", 3], checkout["labels", 4]) == (33, 44)
        copy.create_branch("side")
        copy.push(branch="side")
        copy.delete_remote_branch("origin", "side")
        assert [ref.name for ref in pets.fetch(prune=True).refs] == []


def test_a_part_and_the_rest_when_it_is_read(
    service: Service, name: str, options: dict[str, str], pets: tv.Repository, tmp_path: Path
) -> None:
    pets.add_remote("origin", f"{service.url}/{name}", options=options)
    pets.push()
    with cloned(
        service, name, tmp_path / "part", columns=["images", "masks"], max_bytes=50_000,
        sample="random",
    ) as part:  # fmt: skip
        absent = part.verify().absent_count
        assert absent > 500
        with part.checkout() as checkout:
            assert (checkout["images"][10:40] == PIXELS[10:40]).all()
            assert (checkout["masks"][7] == 7).all()
            assert checkout["labels", 8] == 1
        assert part.verify().absent_count < absent
        part.fetch_data(columns=["images"])
        with part.checkout() as checkout:
            assert (checkout["images"][:] == PIXELS).all()


def test_pushes_at_a_time_lose_nothing(
    service: Service, name: str, options: dict[str, str], pets: tv.Repository, tmp_path: Path
) -> None:
    pets.add_remote("origin", f"{service.url}/{name}", options=options)
    pets.push()

    def work(number: int) -> None:
        with cloned(service, name, tmp_path / f"worker {number}") as repo:
            relabel(repo, number, 100 + number)
            while True:
                try:
                    repo.push()
                    return
                except ConflictError:
                    repo.pull()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    pets.pull()
    with pets.checkout() as checkout:
        assert [checkout["labels", n] for n in range(4)] == [100, 101, 102, 103]
    assert pets.verify().is_sound


def test_a_push_that_is_cut_goes_on(
    service: Service,
    name: str,
    options: dict[str, str],
    pets: tv.Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bucket_contents, "FILE_NBYTES", 100_000)
    pets.add_remote("origin", f"{service.url}/{name}", options=options)
    real = Bucket.put
    sent: list[str] = []

    def put(self: Bucket, path: str, content: bytes) -> None:
        if sent:
            raise RemoteError("the line was cut")
        real(self, path, content)
        sent.append(path)

    monkeypatch.setattr(Bucket, "put", put)
    with pytest.raises(RemoteError, match="cut"):
        pets.push()
    monkeypatch.setattr(Bucket, "put", real)
    pets.push()
    with cloned(service, name, tmp_path / "copy") as copy:
        assert copy.verify().is_sound


def test_other_credentials(service: Service, name: str) -> None:
    secret = "secret_access_key" if "secret_access_key" in service.options else "account_key"
    wrong = Service(service.url, {**service.options, secret: "bm90IHRoZSBrZXk="})
    with pytest.raises(RemoteError, match="refs"):
        wrong.open(name).get("refs")


def test_a_bucket_that_there_is_not(
    service: Service, options: dict[str, str], pets: tv.Repository
) -> None:
    url = service.url.replace("pets", "no-such-bucket") + "/a"
    pets.add_remote("origin", url, options=options)
    with pytest.raises(RemoteError, match="no-such-bucket"):
        pets.push()


def test_a_service_that_ignores_conditions(
    tmp_path: Path, pets: tv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    with careless_server(tmp_path / "served") as careless:
        pets.add_remote("origin", f"{careless.url}/a", options=careless.kept_options(tmp_path))
        with pytest.raises(RemoteError, match="whether or not conditions hold"):
            pets.push()
        assert careless.open("a").list_files("bundles") == {}
        # What came to lie there in another way can be read.
        with monkeypatch.context() as patch:
            patch.setattr(Bucket, "check_conditions", lambda self: None)
            pets.push()
        with cloned(careless, "a", tmp_path / "copy") as copy:
            assert copy.verify().is_sound
        relabel(pets, 1, 11)
        with pytest.raises(RemoteError, match="whether or not conditions hold"):
            pets.push()
