"""Files that hostile data would misuse: where exports go, what imports follow, who may read."""

from __future__ import annotations

import ast
import io
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings

import tensorvcs as tv
from tensorvcs.errors import TensorVCSError
from tensorvcs.formats.exporting import export_from
from tensorvcs.formats.importing import import_into
from tensorvcs.server.tokens import TokenFile
from tests.fuzz.mutations import bounded, mutated, refuse_or_read
from tests.fuzz.test_decoders import FUZZ
from tests.unit.formats.fakes import FakeTarget

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for top in ("tensorvcs", "cli") for path in (ROOT / top).rglob("*.py"))
KEYS: list[int | str] = [
    *("..", "../up", "../../up.png", "/abs", "/etc/passwd", "a/../../up", "a/./b", "a//b", "~/x"),
    *("C:\\x", "C:x", "CON", "con.png", "NUL", "COM1.txt", "x.", "x ", ".hidden", ".tensorvcs/x"),
    *("Case", "case", "CASE", "e\u0301", "\xe9", "\u017f", "s", "a\nb", "\x1b[2J", "%2e%2e/up"),
    *("x" * 2000, "y/" * 900 + "z", "link/through", "-rf", 7, -7),
]


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path / "repo", user_name="Ada", user_email="ada@example.org") as made:
        with made.edit() as co:
            pixels = np.arange(len(KEYS) * 4, dtype=np.uint8).reshape(-1, 2, 2)
            co.add_ndarray_column("images", (2, 2), "uint8").extend(pixels, keys=KEYS)
            for name in ("Images", "a.b", "..", "x" * 60):
                try:
                    co.add_ndarray_column(name, (2,), "uint8").extend(pixels[:3, 0], keys=KEYS[:3])
                except TensorVCSError:
                    assert name == ".."
            co.commit("nasty keys")
        yield made


def everything_below(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if not path.is_relative_to(folder / "repo") and not path.is_relative_to(folder / "out")
    }


@pytest.mark.parametrize("format_name", ["images", "npy", "npz", "hdf5"])
@pytest.mark.parametrize("columns", [["images"], ["Images", "a.b", "images"]], ids=len)
def test_an_export_stays_in_its_place(
    repo: tv.Repository, tmp_path: Path, format_name: str, columns: list[str]
) -> None:
    (tmp_path / "up.png").write_bytes(b"mine")
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    if format_name in ("images", "npy"):
        out.mkdir()
        (out / "link").symlink_to(tmp_path / "elsewhere")
    target = out if format_name in ("images", "npy") else out.with_suffix(f".{format_name}")
    before = everything_below(tmp_path)

    def export() -> None:
        export_from(repo.checkout(), target, format=format_name, columns=columns, overwrite=True)

    refuse_or_read(export)
    (out / "link").unlink(missing_ok=True)
    refuse_or_read(export)
    after = everything_below(tmp_path)
    after.pop(target.name, None)
    assert after == before


def test_two_keys_never_share_a_file(repo: tv.Repository, tmp_path: Path) -> None:
    export_from(repo.checkout(), tmp_path / "out", format="images", columns=["images"])
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == len(KEYS)
    names = [str(path.relative_to(tmp_path / "out")).casefold() for path in files]
    assert len(set(names)) == len(KEYS)


def test_an_import_follows_no_link_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    np.save(tmp_path / "secret" / "a.npy", np.ones(3))
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "b.npy", np.zeros(3))
    (tmp_path / "in" / "c.npy").symlink_to(tmp_path / "secret" / "a.npy")
    (tmp_path / "in" / "d").symlink_to(tmp_path / "secret")
    target = FakeTarget()
    report = import_into(target, tmp_path / "in", column="arrays")
    assert target.columns["arrays"].keys() == ["b.npy"]
    assert [skipped.path for skipped in report.skipped] == ["c.npy", "d"]


def test_a_hdf5_file_that_names_other_files(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = np.ones((3, 2))
    (tmp_path / "secret.bin").write_bytes(b"\1" * 48)
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["mine"] = np.zeros((3, 2))
        file["linked"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/data")
        file.create_dataset(
            "outside", (3, 2), "f8", external=[(str(tmp_path / "secret.bin"), 0, 48)]
        )
        layout = h5py.VirtualLayout((3, 2), "f8")
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "data", (3, 2))
        file.create_virtual_dataset("virtual", layout)
    target = FakeTarget()
    import_into(target, tmp_path / "in.h5")
    assert list(target.columns) == ["mine"]


# Worker processes of a loader send batches to the process that started them, through pipes.
PIPES = {"worker_process.py", "workers.py"}


def test_nothing_is_unpickled() -> None:
    for path in SOURCES:
        if path.name in PIPES:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names]
                names.append(getattr(node, "module", None) or "")
                banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
                assert not banned & {name.partition(".")[0] for name in names}, where
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else ""
            options = {keyword.arg: keyword.value for keyword in node.keywords}
            assert not (isinstance(function, ast.Name) and function.id in ("eval", "exec")), where
            allows = options.get("allow_pickle")
            if allows is not None:
                assert isinstance(allows, ast.Constant) and allows.value is False, where
            owner = function.value if isinstance(function, ast.Attribute) else None
            module = owner.id if isinstance(owner, ast.Name) else ""
            if module in ("np", "npy_format") and called in ("load", "read_array", "save"):
                assert allows is not None, where
            if module == "torch" and called == "load":
                only = options.get("weights_only")
                assert isinstance(only, ast.Constant) and only.value is True, where


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_the_modes_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with tv.init(tmp_path / "repo", user_name="Ada", user_email="ada@example.org") as repo:
            with repo.edit() as co:
                rows = np.random.default_rng(0).integers(0, 255, (1400, 30, 30), np.uint8)
                co.add_ndarray_column("images", (30, 30), "uint8").extend(rows)
                co.commit("first")
            repo.create_bundle(tmp_path / "all.bundle")
            TokenFile(tmp_path / "tokens.json").add("ada", [("*", "write")])
        tv.clone(tmp_path / "repo", tmp_path / "bare", bare=True).close()
    finally:
        os.umask(before)
    seen = 0
    for path in tmp_path.rglob("*"):
        mode = path.stat().st_mode & 0o7777
        expected = (0o777 if path.is_dir() else 0o666) & ~umask
        if path.name == "tokens.json":
            expected = 0o600
        assert mode == expected, f"{path} has {mode:o}, expected {expected:o}"
        seen += 1
    assert seen > 15


def contents_of(suffix: str) -> list[bytes]:
    """Return small valid files of a format."""
    buffer, other = io.BytesIO(), io.BytesIO()
    rows = np.arange(24, dtype="<f4").reshape(4, 3, 2)
    if suffix == ".npy":
        np.save(buffer, rows)
        np.save(other, np.array(["a", "bc"]))
    elif suffix == ".npz":
        np.savez(buffer, images=rows, labels=np.arange(4))
        np.savez_compressed(other, names=np.array(list("abcd")))
    else:
        with h5py.File(buffer, "w") as file:
            file["images"] = rows
            file.create_dataset("packed", data=rows, chunks=(2, 3, 2), compression="gzip")
        with h5py.File(other, "w") as file:
            file["names"] = np.array([b"a", b"bc"], h5py.string_dtype())
    return [buffer.getvalue(), other.getvalue()]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_hostile_hdf5_files_neither_end_nor_fill_the_process(tmp_path: Path) -> None:
    """In a child, since a fault within HDF5 would be the end of this process."""
    random = np.random.default_rng(5)
    path = tmp_path / "a.h5"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with bounded():
                for content in contents_of(".h5"):
                    for _ in range(60):
                        harmed = bytearray(content)
                        for at in random.integers(0, len(content), random.integers(1, 6)):
                            harmed[at] = random.integers(0, 256)
                        path.write_bytes(harmed)
                        target: Any = FakeTarget()
                        refuse_or_read(lambda target=target: import_into(target, path))  # type: ignore[misc]
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_hostile_files_are_imported_or_refused(
    tmp_path_factory: pytest.TempPathFactory, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("hostile") / f"a{suffix}"

    @settings(FUZZ, max_examples=80)
    @given(content=mutated(contents_of(suffix)))
    def attack(content: bytes) -> None:
        path.write_bytes(content)
        target: Any = FakeTarget()
        refuse_or_read(lambda: import_into(target, path))

    with bounded():
        attack()
