"""What pyproject.toml says, against what is in the folders."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
SETUPTOOLS = SETTINGS["tool"]["setuptools"]


def packages_in_folders() -> set[str]:
    found = set()
    for top, installed in [("tensorvcs", "tensorvcs"), ("cli", "tensorvcs_cli")]:
        for path in (ROOT / top).rglob("*.py"):
            parts = path.parent.relative_to(ROOT / top).parts
            found.add(".".join([installed, *parts]))
    return found


def test_every_folder_with_code_is_a_listed_package() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(packages_in_folders())
    assert SETUPTOOLS["packages"] == sorted(SETUPTOOLS["packages"])


def test_every_package_has_an_init() -> None:
    for package in packages_in_folders():
        folder = ROOT / package.replace("tensorvcs_cli", "cli").replace(".", "/")
        assert (folder / "__init__.py").is_file(), folder


def test_the_command_line_is_installed_under_a_name_of_its_own() -> None:
    assert SETUPTOOLS["package-dir"] == {"tensorvcs_cli": "cli"}
    assert not any(package.split(".")[0] == "cli" for package in SETUPTOOLS["packages"])


def test_every_file_that_is_no_code_is_package_data() -> None:
    data: dict[str, list[str]] = SETUPTOOLS["package-data"]
    for package in packages_in_folders():
        folder = ROOT / package.replace("tensorvcs_cli", "cli").replace(".", "/")
        for path in folder.iterdir():
            if path.is_dir() or path.suffix in {".py", ".pyc"}:
                continue
            patterns = data.get(package, [])
            assert any(path.match(pattern) for pattern in patterns), f"{path} is not in the wheel"


@pytest.mark.parametrize("name", ["tvcs", "tensorvcs"])
def test_the_console_scripts_reach_a_function(name: str) -> None:
    module, _, function = PROJECT["scripts"][name].partition(":")
    path = ROOT / (module.replace("tensorvcs_cli", "cli").replace(".", "/") + ".py")
    tree = ast.parse(path.read_text())
    assert function in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def test_the_format_entry_points_reach_formats_of_their_name() -> None:
    for name, target in PROJECT["entry-points"]["tensorvcs.formats"].items():
        module, _, attribute = target.partition(":")
        assert getattr(import_module(module), attribute).name == name


def package_names(requirements: list[str]) -> dict[str, str]:
    """Return the lower-case name of each requirement with the rest of it."""
    found = {}
    for requirement in requirements:
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)(\[[^]]*\])?(.*)", requirement)
        assert match is not None, requirement
        found[match[1].lower()] = match[3]
    return found


def test_every_dependency_has_a_lower_bound() -> None:
    """`make test-all` turns the bounds into pins to test the lowest versions."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for group in groups:
        for name, rest in package_names(group).items():
            bound = rest.partition("; python_version < ")[0]
            assert name == "tensorvcs" or re.fullmatch(r">=[0-9.]+(,<[0-9.]+)?", bound), (
                name,
                rest,
            )


def test_the_core_needs_seven_packages() -> None:
    expected = {"numpy", "h5py", "lmdb", "blosc", "blake3", "xxhash", "click"}
    assert set(package_names(PROJECT["dependencies"])) == expected


def test_every_constraint_is_of_a_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [line.split("==")[0] for line in lines if line and not line.startswith("#")]
    extras: list[list[str]] = list(PROJECT["optional-dependencies"].values())
    known = set(package_names([r for group in extras for r in group]))
    assert set(pinned) <= known | set(package_names(PROJECT["dependencies"]))


def test_extras_named_in_error_messages_exist() -> None:
    """`MissingDependencyError(package, extra, purpose)` hints at an extra."""
    for path in (ROOT / "tensorvcs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "MissingDependencyError"
                and isinstance(node.args[1], ast.Constant)
            ):
                assert node.args[1].value in PROJECT["optional-dependencies"], path


def test_the_oldest_python_is_the_same_everywhere() -> None:
    assert PROJECT["requires-python"] == ">=3.11"
    assert SETTINGS["tool"]["ruff"]["target-version"] == "py311"
    assert SETTINGS["tool"]["mypy"]["python_version"] == "3.11"
    assert "version_info < (3, 11)" in (ROOT / "Makefile").read_text()


def test_the_licence_is_whole() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_continuous_integration_calls_make_test_and_nothing_else() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1] == "exec make test"
