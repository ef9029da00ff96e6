"""``progress=True``: every long call draws a bar, and calls a function that is given."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.formats.exporting import export_from
from tensorvcs.formats.importing import import_into

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Call = tuple[str, "Callable[[Any, Path, Any], object]"]


def stage(repo: tv.Repository, folder: Path, progress: Any) -> None:
    np.save(folder / "more.npy", np.ones((3, 2)))
    with repo.edit() as co:
        import_into(co, folder / "more.npy", progress=progress)


def export(repo: tv.Repository, folder: Path, progress: Any) -> None:
    with repo.checkout() as co:
        export_from(co, folder / "out.npy", columns=["x"], progress=progress)


def fetch_data(repo: tv.Repository, folder: Path, progress: Any) -> None:
    with tv.clone(repo.path, folder / "part", columns=["x"], keys=["0"]) as part:
        part.fetch_data(progress=progress)


def push(repo: tv.Repository, folder: Path, progress: Any) -> None:
    tv.init(folder / "bare", bare=True).close()
    repo.add_remote("there", folder / "bare")
    repo.push("there", progress=progress)


CALLS: list[Call] = [
    ("Verifying", lambda repo, folder, progress: repo.verify(progress=progress)),
    ("Verifying", lambda repo, folder, progress: repo.verify("main", progress=progress)),
    ("Fetching", lambda repo, folder, progress: tv.clone(
        repo.path, folder / "clone", progress=progress
    ).close()),
    ("Fetching", fetch_data),
    ("Pushing", push),
    ("Writing", lambda repo, folder, progress: repo.create_bundle(folder / "b", progress=progress)),
    ("Testing", lambda repo, folder, progress: repo.bisect(
        "main~2", "main", lambda co: len(co["x"]) < 3, progress=progress
    )),
    ("Importing", stage),
    ("Exporting", export),
]  # fmt: skip


@pytest.fixture
def repo(tmp_path: Path) -> Any:
    with tv.init(tmp_path / "repo", user_name="Ada", user_email="ada@example.org") as made:
        with made.edit() as co:
            co.add_ndarray_column("x", (40,), "float64")
            for count in range(3):
                co["x"][count] = np.full(40, float(count))
                co.commit(f"{count}")
        yield made


@pytest.mark.parametrize(("label", "call"), CALLS)
def test_a_bar_or_a_function(
    repo: tv.Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    label: str,
    call: Callable[[Any, Path, Any], object],
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    with redirect_stderr(io.StringIO()) as drawn:
        call(repo, first, True)
    assert f"\r\x1b[K{label}: " in drawn.getvalue()
    assert drawn.getvalue().endswith("\r\x1b[K")
    if label == "Pushing":
        repo.remove_remote("there")
    second.mkdir()
    told: list[object] = []
    with redirect_stderr(io.StringIO()) as drawn:
        call(repo, second, lambda *counts: told.append(counts))
    assert told
    assert drawn.getvalue() == ""
