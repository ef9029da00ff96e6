"""The table of imports: who may know whom, lazy imports and imports for types included."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Each part of the project, and the parts it may import besides itself. Bottom up; `tensorvcs` is
# the package's own `__init__`, which holds the public names and nothing else.
_HISTORY = {"errors", "signing", "objects", "display", "storage.interfaces", "tree", "history"}
_EVERYTHING_BELOW = _HISTORY | {
    "checkout", "sync", "maintenance", "storage", "storage.durable",
}  # fmt: skip
_PUBLIC = {
    "tensorvcs", "errors", "objects", "display", "history", "checkout", "maintenance", "repository",
}  # fmt: skip
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    # Signatures over bytes: knows nothing of what is signed.
    "signing": {"errors"},
    "objects": {"errors"},
    # What a person sees of a value: low, so that checkouts and diffs can show themselves.
    "display": {"errors", "objects"},
    "storage.interfaces": {"errors", "objects"},
    # Files that appear whole: for whoever keeps one, such as the tokens of a server.
    "storage.durable": {"errors"},
    "storage": {"errors", "objects", "storage.interfaces", "storage.durable"},
    "tree": {"errors", "objects", "storage.interfaces"},
    "history": {"errors", "signing", "objects", "display", "storage.interfaces", "tree"},
    # The three of one level never import each other.
    "checkout": _HISTORY,
    "sync": _HISTORY,
    "maintenance": _HISTORY,
    # Opens the stores of remotes; the repository opens its own.
    "connections": {"errors", "storage", "storage.interfaces", "sync"},
    "repository": _EVERYTHING_BELOW | {"connections"},
    # Puts a new database in the place of a damaged one, of which no repository can be opened.
    "recovery": _EVERYTHING_BELOW | {"repository"},
    # These see the public names, and never the stores.
    "torch": _PUBLIC,
    "formats": _PUBLIC,
    # Other libraries for arrays and tables; what they share with files is in formats.
    "interchange": _PUBLIC | {"torch", "formats"},
    # Answers from the stores that a connection opens; it knows no storage of its own.
    "server": {"errors", "objects", "connections", "storage.interfaces", "storage.durable", "sync"},
    "tensorvcs": _EVERYTHING_BELOW | {"repository", "recovery", "torch", "formats"},
    "cli": {
        "tensorvcs",
        "errors",
        "signing",
        "objects",
        "torch",
        "formats",
        "display",
        "server",
        "storage.durable",
    },
}

CORE_PACKAGES = {"numpy", "h5py", "lmdb", "blosc", "blake3", "xxhash"}
# Packages of the core that one part alone may import.
CONFINED = {
    "lmdb": {"storage"},
    "blosc": {"storage"},
    "h5py": {"storage", "formats"},
    "blake3": {"objects"},
    "xxhash": {"storage", "tree"},
    "click": {"cli"},
}
# Programs for a process of their own, perhaps under another Python: they import nothing of the
# project but each other, and load packages that are not ours to load here.
APART = {
    "tensorvcs.formats.hangar.frames",
    "tensorvcs.formats.hangar.hangar_repository",
    "tensorvcs.formats.hangar.reader",
    "tensorvcs.formats.hangar.records",
}
# Packages that may be absent: imported inside functions, and in these modules alone. The whole of
# `tensorvcs.torch` is for people who have torch.
OPTIONAL: dict[str, tuple[str, ...]] = {
    "torch": ("tensorvcs.torch.*", "tensorvcs.interchange.pytorch"),
    "pyarrow": (
        "tensorvcs.formats.arrow_tables",
        "tensorvcs.formats.arrow_values",
        "tensorvcs.formats.parquet",
        "tensorvcs.interchange.*",
    ),
    "dask": ("tensorvcs.interchange.dask",),
    "datasets": ("tensorvcs.interchange.huggingface",),
    "ray": ("tensorvcs.interchange.ray",),
    "PIL": ("tensorvcs.formats.image_decoding", "tensorvcs.formats.image_export"),
    "ml_dtypes": ("tensorvcs.objects.dtype",),
    "cryptography": ("tensorvcs.signing.ed25519",),
    "rich": ("tensorvcs.display.progress",),
    "hdf5plugin": (),
    "starlette": ("tensorvcs.server.*",),
    "uvicorn": ("tensorvcs.server.*",),
    "msgspec": ("tensorvcs.server.*", "tensorvcs.sync.*"),
    "obstore": ("tensorvcs.sync.*",),
}


@dataclass(frozen=True)
class Import:
    """One imported module, as seen in the source."""

    module: str
    name: str
    line: int
    is_lazy: bool
    is_for_types: bool


def source_files() -> dict[str, Path]:
    files = {}
    for top in ("tensorvcs", "cli"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


FILES = source_files()
TREES = {module: ast.parse(path.read_text()) for module, path in FILES.items()}


def part_of(module: str) -> str:
    """Return the part of the table that a module of the project belongs to."""
    pieces = module.split(".")
    if pieces[0] == "cli" or len(pieces) == 1:
        return pieces[0]
    if pieces[1:3] in (["storage", "interfaces"], ["storage", "durable"]):
        return ".".join(pieces[1:3])
    return pieces[1]


def is_type_checking(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports_in(tree: ast.AST, package: str) -> list[Import]:
    """Return what a module imports, anywhere in it; relative imports made absolute."""
    found: list[Import] = []

    def visit(node: ast.AST, is_lazy: bool, is_for_types: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(
                Import(alias.name, "", node.lineno, is_lazy, is_for_types) for alias in node.names
            )
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                module = ".".join([*above, module] if module else above)
            found.extend(
                Import(module, alias.name, node.lineno, is_lazy, is_for_types)
                for alias in node.names
            )
        for child in ast.iter_child_nodes(node):
            visit(
                child,
                is_lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda),
                is_for_types or (isinstance(node, ast.If) and is_type_checking(node)),
            )

    visit(tree, False, False)
    return found


def imports_of(module: str) -> list[Import]:
    is_package = FILES[module].name == "__init__.py"
    return imports_in(TREES[module], module if is_package else module.rpartition(".")[0])


def target_of(imported: Import) -> str:
    """Return the module of the project an import reaches: ``from a import b`` may be ``a.b``."""
    full = f"{imported.module}.{imported.name}"
    return full if full in FILES else imported.module


def edges_that_break(module: str, imports: list[Import]) -> list[str]:
    part = part_of(module)
    assert part in ALLOWED, f"{module}: the folder {part} is not in the table of imports"
    broken = []
    for imported in imports:
        if imported.module.split(".")[0] not in {"tensorvcs", "cli", "tensorvcs_cli"}:
            continue
        target = part_of(target_of(imported).replace("tensorvcs_cli", "cli"))
        if target != part and target not in ALLOWED[part]:
            broken.append(f"{module}:{imported.line} imports {target_of(imported)}")
    return broken


@pytest.mark.parametrize("module", FILES)
def test_imports_go_downward(module: str) -> None:
    assert edges_that_break(module, imports_of(module)) == []


def test_the_table_has_no_cycle() -> None:
    ranks: dict[str, int] = {}

    def rank(part: str, above: tuple[str, ...]) -> int:
        assert part not in above, " -> ".join([*above, part])
        if part not in ranks:
            ranks[part] = 1 + max((rank(b, (*above, part)) for b in ALLOWED[part]), default=0)
        return ranks[part]

    # `tensorvcs` names everything, and those above it name `tensorvcs`: no part of the order.
    for part in set(ALLOWED) - {"tensorvcs", "torch", "formats", "interchange", "server", "cli"}:
        rank(part, ())


@pytest.mark.parametrize("module", [m for m in FILES if part_of(m) == "cli"])
def test_the_command_line_imports_itself_relatively(module: str) -> None:
    """It is installed as `tensorvcs_cli`, so neither name may appear in it."""
    absolute = [
        node.lineno
        for node in ast.walk(TREES[module])
        if (isinstance(node, ast.ImportFrom) and not node.level and node.module is not None)
        and node.module.split(".")[0] in {"cli", "tensorvcs_cli"}
    ]
    assert absolute == []


@pytest.mark.parametrize("module", sorted(APART))
def test_programs_apart_import_nothing_but_each_other(module: str) -> None:
    own = {target_of(i) for i in imports_of(module) if i.module.split(".")[0] == "tensorvcs"}
    assert own <= APART


def is_in(module: str, patterns: tuple[str, ...]) -> bool:
    return any(
        module == pattern or (pattern.endswith(".*") and f"{module}.".startswith(pattern[:-1]))
        for pattern in patterns
    )


def packages_that_break(module: str, imports: list[Import]) -> list[str]:
    part = part_of(module)
    broken = []
    for imported in imports:
        package = imported.module.split(".")[0]
        where = f"{module}:{imported.line}"
        if package in sys.stdlib_module_names or package in {"tensorvcs", "cli"}:
            continue
        if module in APART and imported.is_lazy:
            continue
        if package in OPTIONAL:
            if not is_in(module, OPTIONAL[package]):
                broken.append(f"{where} imports the optional package {package}")
            elif not (imported.is_lazy or imported.is_for_types or part in {"torch", "server"}):
                broken.append(f"{where} imports the optional package {package} at its top")
        elif package in CONFINED:
            if part.split(".")[0] not in CONFINED[package]:
                broken.append(f"{where} imports {package}, which belongs to {CONFINED[package]}")
        elif package not in CORE_PACKAGES:
            broken.append(f"{where} imports {package}, which is no dependency")
    return broken


@pytest.mark.parametrize("module", FILES)
def test_packages_are_imported_where_they_belong(module: str) -> None:
    assert packages_that_break(module, imports_of(module)) == []


@pytest.mark.parametrize("module", [m for m in FILES if part_of(m) != "cli"])
def test_the_library_imports_itself_lazily_only_for_optional_packages(module: str) -> None:
    """The root of the package may be lazy: it names what needs torch and HDF5."""
    if module in {"tensorvcs", "tensorvcs.repository"} or part_of(module) in {
        "formats",
        "interchange",
    }:
        return
    lazy = [
        f"{module}:{imported.line} {imported.module}"
        for imported in imports_of(module)
        if imported.is_lazy and imported.module.split(".")[0] == "tensorvcs"
    ]
    assert lazy == []


FORBIDDEN_CALLS = {"print", "input", "breakpoint"}
FORBIDDEN_ATTRIBUTES = {("os", "environ"), ("os", "getenv"), ("os", "environb"), ("os", "putenv")}
CLOCKLESS_PARTS = {"objects", "tree", "history"}
CLOCK_MODULES = {"time", "random", "secrets", "uuid"}
CLOCK_ATTRIBUTES = {"now", "utcnow", "today", "urandom", "random", "default_rng"}


def outside_world_in(tree: ast.AST) -> list[str]:
    """Return the uses of the terminal and the environment in a module."""
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in FORBIDDEN_CALLS
        ):
            found.append(f"line {node.lineno}: {node.func.id}()")
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) in FORBIDDEN_ATTRIBUTES
        ):
            found.append(f"line {node.lineno}: {node.value.id}.{node.attr}")
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            found += [
                f"line {node.lineno}: from os import {alias.name}"
                for alias in node.names
                if ("os", alias.name) in FORBIDDEN_ATTRIBUTES
            ]
    return found


@pytest.mark.parametrize("module", [m for m in FILES if part_of(m) != "cli"])
def test_the_library_neither_prints_nor_asks_nor_reads_the_environment(module: str) -> None:
    assert outside_world_in(TREES[module]) == []


@pytest.mark.parametrize("module", [m for m in FILES if part_of(m) == "cli"])
def test_the_command_line_prints_and_reads_the_environment_in_one_place(module: str) -> None:
    allowed = {"cli.output", "cli.context"}
    assert module in allowed or outside_world_in(TREES[module]) == []


@pytest.mark.parametrize("module", [m for m in FILES if part_of(m) in CLOCKLESS_PARTS])
def test_values_trees_and_history_use_no_clock_and_no_randomness(module: str) -> None:
    used = {imported.module.split(".")[0] for imported in imports_of(module)}
    assert used & CLOCK_MODULES == set()
    asked = {node.attr for node in ast.walk(TREES[module]) if isinstance(node, ast.Attribute)}
    assert asked & CLOCK_ATTRIBUTES == set()


def test_broad_excepts_are_in_one_place() -> None:
    """The last line of defence of the command line; and where errors leave a worker process."""
    broad = [
        f"{module}:{node.lineno}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
        and module not in {"cli.main", "tensorvcs.torch.worker_process"}
    ]
    assert broad == []


# The rules themselves, on sources made for them.


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tensorvcs.objects.x", "from tensorvcs.storage.interfaces import ObjectStore"),
        ("tensorvcs.tree.x", "def f():\n    from tensorvcs.storage import memory"),
        ("tensorvcs.tree.x", "import tensorvcs"),
        ("tensorvcs.checkout.x", "from tensorvcs.maintenance import gc"),
        ("tensorvcs.formats.x", "from tensorvcs.storage.memory import memory_stores"),
        ("tensorvcs.torch.x", "from tensorvcs.formats.registry import formats"),
        ("cli.commands.x", "from tensorvcs.storage import folder"),
    ],
)
def test_an_edge_that_is_not_in_the_table_is_found(module: str, source: str) -> None:
    assert edges_that_break(module, imports_in(ast.parse(source), "tensorvcs"))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tensorvcs.formats.images", "import PIL"),
        ("tensorvcs.checkout.x", "def f():\n    import torch"),
        ("tensorvcs.storage.x", "import pandas"),
        ("tensorvcs.tree.x", "import h5py"),
    ],
)
def test_a_package_in_the_wrong_place_is_found(module: str, source: str) -> None:
    assert packages_that_break(module, imports_in(ast.parse(source), "tensorvcs"))


@pytest.mark.parametrize(
    "source", ["print(1)", "import os\nos.environ['A']", "from os import getenv"]
)
def test_a_look_outside_is_found(source: str) -> None:
    assert outside_world_in(ast.parse(source))
