"""Every public name says what it is, and its examples run."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import tensorvcs as tv

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "tensorvcs").rglob("*.py")
)
# Below and beside these parts, methods are those of a protocol, which explains them once.
_METHODS_OF_PROTOCOLS = (
    "tensorvcs.storage", "tensorvcs.formats", "tensorvcs.errors", "tensorvcs.server.pipes",
    "tensorvcs.sync.bucket_contents", "tensorvcs.sync.bucket_stores",
    "tensorvcs.sync.bundle_stores", "tensorvcs.sync.remote_stores",
)  # fmt: skip


def source_of(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def public_definitions(tree: ast.Module, *, with_methods: bool) -> list[tuple[str, Any]]:
    """Return the public functions and classes of a module, and the members of its classes."""
    found: list[tuple[str, Any]] = []
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        found.append((node.name, node))
        if with_methods and isinstance(node, ast.ClassDef) and not node.name.endswith("Area"):
            found += [
                (f"{node.name}.{member.name}", member)
                for member in node.body
                if isinstance(member, ast.FunctionDef)
                and not member.name.startswith("_")
                and not any(
                    isinstance(decorator, ast.Name) and decorator.id == "overload"
                    for decorator in member.decorator_list
                )
            ]
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_docstring(module: str) -> None:
    tree = source_of(module)
    assert ast.get_docstring(tree), f"{module} has no docstring"
    lacking = []
    with_methods = not module.startswith(_METHODS_OF_PROTOCOLS)
    for name, node in public_definitions(tree, with_methods=with_methods):
        text = ast.get_docstring(node)
        if text is None:
            lacking.append(name)
            continue
        first = text.partition("\n\n")[0]
        assert first.rstrip().endswith((".", ":", "?")), f"{module}.{name}: {first!r}"
    assert lacking == []


@pytest.mark.parametrize("name", tv.__all__)
def test_what_is_exported_is_there_and_explained(name: str) -> None:
    found = getattr(tv, name)
    if name != "__version__":
        assert inspect.getdoc(found)


def test_the_public_methods_name_what_they_raise() -> None:
    """Whoever calls a verb finds its errors without reading the source."""
    lacking = []
    for name, method in inspect.getmembers(tv.Repository, inspect.isfunction):
        if name.startswith("_") or name in _RAISES_NOTHING_OF_ITS_OWN:
            continue
        text = inspect.getdoc(method) or ""
        if "Raises" not in text and "raise " not in text:
            lacking.append(name)
    assert lacking == []


_RAISES_NOTHING_OF_ITS_OWN = {
    "close", "config", "diff", "log", "merge_base", "missing_for", "moves_of", "operations",
    "record_as",
    "repack", "staged", "stats", "tag_message", "transaction", "verify", "checkout", "gc",
}  # fmt: skip


def test_importing_the_library_loads_no_optional_package() -> None:
    import subprocess
    import sys

    heavy = ["torch", "PIL", "ml_dtypes", "rich", "cryptography", "starlette", "obstore"]
    heavy.append("hdf5plugin")
    code = f"import sys, tensorvcs; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
    assert importlib.import_module("tensorvcs").__version__ == tv.__version__
