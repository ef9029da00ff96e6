"""Every class of the error tree is one that some test has seen raised."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tensorvcs import errors
from tensorvcs.errors import TensorVCSError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "tests").rglob("test_*.py"))
    if path.name not in ("test_errors.py", Path(__file__).name)
)
LIBRARY = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("tensorvcs", "cli")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "errors.py"
)
# Those that only group others.
GROUPS = {
    "TensorVCSError", "NotFoundError", "AlreadyExistsError", "StateError", "ConflictError",
    "LockedError", "CorruptionError",
}  # fmt: skip
# For work that has not begun; the test below tells when it has.
AWAITED: set[str] = set()
LEAVES = sorted(
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, TensorVCSError) and name not in GROUPS
)


@pytest.mark.parametrize("name", LEAVES)
def test_an_error_is_raised_by_the_library_and_seen_by_a_test(name: str) -> None:
    is_raised = re.search(rf"\b{name}\(|\braise {name}\b", LIBRARY) is not None
    assert is_raised != (name in AWAITED), f"{name} is raised: {is_raised}"
    if name in AWAITED:
        return
    assert re.search(rf"\b{name}\b", SOURCES), f"no test expects {name}"
