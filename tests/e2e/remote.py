"""Two repositories on one disk: that of Ada, and one beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tests.e2e.shell import Shell

PIXELS = np.random.default_rng(0).integers(0, 255, (50, 16, 16, 3), np.uint8)


def with_pictures(shell: Shell) -> Shell:
    """Commit fifty pictures with labels, and tag them."""
    with shell.repository() as repo, repo.edit() as staging:
        images = staging.add_ndarray_column("images", (16, 16, 3), "uint8")
        labels = staging.add_ndarray_column("labels", (), "int64")
        for number in range(50):
            images[f"{number % 2}/{number:02}"] = PIXELS[number]
            labels[f"{number % 2}/{number:02}"] = number % 2
    shell.ok("commit", "-m", "Pictures")
    shell.ok("tag", "v1")
    return shell


def beside(shell: Shell, name: str = "copy") -> Any:
    """Return a shell in a folder beside that of another one; both share the environment."""
    return type(shell)(shell.folder.parent / name, shell._patch)


def clone(shell: Shell, *options: str) -> Any:
    """Return a shell in a clone."""
    folder = shell.folder.parent / "copy"
    shell.ok("clone", str(shell.folder), str(folder), *options)
    other = beside(shell)
    for name, value in (("NAME", "Bob"), ("EMAIL", "bob@example.org")):
        other.set_variable(f"TENSORVCS_USER_{name}", value)
    return other
