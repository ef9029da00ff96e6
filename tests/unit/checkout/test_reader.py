"""A checkout in other threads and processes."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

ROWS = np.random.default_rng(0).integers(0, 256, (500, 20, 20), np.uint8)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as repo:
        with repo.edit() as co:
            co.add_ndarray_column("images", (20, 20), "uint8").extend(ROWS)
            co.add_ndarray_column("labels", (), "int64").extend(np.arange(500))
            co.add_str_column("texts").extend(map(str, range(500)))
            co.add_ndarray_column("nested", (), "int8", nested=True)["a"] = {1: 1}
            co.commit("first")
        yield repo


def read_everything(co: Any) -> bool:
    return bool(
        np.array_equal(co["images"][:], ROWS)
        and np.array_equal(co["images"][[7, 3]], ROWS[[7, 3]])
        and np.array_equal(co["images"][499], ROWS[499])
        and co["labels"].read([5, 4]).tolist() == [5, 4]
        and co["texts"][490:] == [str(n) for n in range(490, 500)]
        and co["nested"]["a"][1] == 1
    )


def _read(source: Any, results: Any) -> None:
    results.put(read_everything(source))


def test_a_checkout_pickles_as_its_place(disk: tv.Repository) -> None:
    co = disk.checkout()
    assert read_everything(co)
    pickled = pickle.dumps(co)
    assert len(pickled) < 1000
    with disk.edit() as editor:
        editor["labels"][0] = 7
        editor.commit("second")
    found = pickle.loads(pickled)
    assert found.base == co.base != disk.checkout().base
    assert read_everything(found)
    again = pickle.loads(pickle.dumps(disk))
    assert again.path == disk.path
    assert again.head == "main"
    again.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("warm", [True, False])
def test_a_checkout_reads_in_another_process(disk: tv.Repository, method: str, warm: bool) -> None:
    context = multiprocessing.get_context(method)
    co = disk.checkout()
    if warm:
        assert read_everything(co)
    results = context.Queue()
    children = [context.Process(target=_read, args=(co, results)) for _ in range(2)]  # type: ignore[attr-defined]
    for child in children:
        child.start()
    assert read_everything(co)
    assert [results.get(timeout=60) for _ in children] == [True, True]
    for child in children:
        child.join(60)
        assert child.exitcode == 0


def test_threads_share_a_checkout_while_a_writer_works(disk: tv.Repository) -> None:
    co = disk.checkout()
    found: list[bool] = []

    def read() -> None:
        found.extend(read_everything(co) for _ in range(5))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    with disk.edit() as editor:
        for n in range(10):
            editor["images"][n] = np.full((20, 20), n, np.uint8)
            editor.commit("more")
    for thread in threads:
        thread.join(60)
    assert found == [True] * 20


def test_a_checkout_outlives_changes_repacks_and_the_repository(disk: tv.Repository) -> None:
    with disk.checkout() as co:
        with disk.edit() as editor:
            editor["images"].clear()
            del editor["labels"]
            editor.commit("gone")
        disk.repack()
        assert read_everything(co)
    assert read_everything(co)
    late = disk.checkout("HEAD~1")
    with disk.edit() as editor:
        editor.add_str_column("x")
        editor.commit("more")
    disk.repack()
    assert read_everything(late)


def test_a_checkout_shows_itself(disk: tv.Repository) -> None:
    co = disk.checkout()
    assert repr(co) == f"<Checkout {co.base.short_id} 'first': images, labels, nested, texts>"
    assert repr(co.columns) == "<columns: images, labels, nested, texts>"
    assert (
        repr(co["nested"])
        == "<NestedColumn 'nested': 1 samples with 1 subsamples × nested int8 ()>"
    )
    assert repr(co["nested"]["a"]) == "<1 subsamples of 'a' in column 'nested'>"
    assert "<img " in co["images"]._repr_html_()
