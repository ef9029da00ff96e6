"""Each change of what is durable is a named step, so that the crash tests can kill there."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tensorvcs.storage.durable import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "tensorvcs").rglob("*.py"))
DURABLE = "tensorvcs/storage/durable.py"
ACTS = {"fsync", "fdatasync", "rename", "replace", "link", "symlink"}
# Modules that sync or rename by themselves, each with what makes that no durable step.
OUTSIDE = {
    "tensorvcs/storage/hdf5_pack.py": "writes back early; `publish` syncs what counts",
    "tensorvcs/storage/file_cache.py": "a cache: losing any of it costs time only",
    "tensorvcs/formats/destinations.py": "an export, which can be made again",
}


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def changes_files(call: ast.Call) -> bool:
    """Tell whether a call syncs or renames a file; texts are replaced in with two arguments."""
    if name_of(call) not in ACTS or not isinstance(call.func, ast.Attribute):
        return False
    owner = call.func.value
    if isinstance(owner, ast.Name) and owner.id == "os":
        return True
    is_list = bool(call.args) and isinstance(call.args[0], ast.List)
    return len(call.args) == 1 and not call.keywords and not is_list


def steps_in(path: Path) -> list[tuple[ast.expr, int]]:
    return [
        (call.args[0], call.lineno)
        for call in calls(ast.parse(path.read_text()))
        if name_of(call) == "step"
        and isinstance(call.func, (ast.Name, ast.Attribute))
        and call.args
    ]


def test_every_named_step_is_marked_somewhere() -> None:
    marked = {
        argument.value
        for path in SOURCES
        for argument, _ in steps_in(path)
        if isinstance(argument, ast.Constant)
    }
    assert set(STEPS) <= marked


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_synced_and_renamed_in_named_steps_only(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    if name == DURABLE:
        return
    found = [call.lineno for call in calls(ast.parse(path.read_text())) if changes_files(call)]
    if name in OUTSIDE:
        assert found, f"{name} syncs and renames nothing any more: take it out of the table"
        return
    steps = [line for _, line in steps_in(path)]
    unnamed = [line for line in found if not any(0 < at - line <= 6 for at in steps)]
    assert not unnamed, (
        f"{name} syncs or renames at lines {unnamed}: use tensorvcs.storage.durable, or mark a "
        "step behind it"
    )
