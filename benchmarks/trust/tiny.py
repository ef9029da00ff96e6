"""A tiny repository with a file and a record of every kind, and the truth about it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import tensorvcs as tv
from tensorvcs.objects.tensor import digest_value
from tensorvcs.storage import pending_values

if TYPE_CHECKING:
    from pathlib import Path

REVISIONS = ("main", "side", "v1")
TRUTH_FILE = "truth.json"


@dataclass(frozen=True, slots=True)
class Tiny:
    """A repository and what is in it.

    Attributes
    ----------
    path : Path
    packs : dict of str to Path
        The pack files by what they hold: ``rows``, ``compressed``, ``frames``.
    """

    path: Path
    packs: dict[str, Path]


def build(path: Path, seed: int = 7) -> Tiny:
    """Make the repository, and write the truth beside it, to ``truth.json`` in `path`.

    It has packs of plain rows, of compressed rows and of frames; loose values; inline values; a
    nested column; two branches, an annotated tag, staged changes, a stash and operations.
    """
    rng = np.random.default_rng(seed)
    packs: dict[str, Path] = {}
    with tv.init(path, user_name="Ada Lovelace", user_email="ada@example.org") as repo:
        folder = path / ".tensorvcs" / "packs"

        def sealed(name: str, co: tv.EditableCheckout, message: str) -> None:
            before = set(folder.glob("*.h5"))
            # So little would be kept loose.
            limit, pending_values.LOOSE_SEAL_NBYTES = pending_values.LOOSE_SEAL_NBYTES, 0
            try:
                co.commit(message)
            finally:
                pending_values.LOOSE_SEAL_NBYTES = limit
            (packs[name],) = set(folder.glob("*.h5")) - before

        with repo.edit() as co:
            images = co.add_ndarray_column("images", (40, 30), "uint8", codec="raw")
            images.extend(rng.integers(0, 256, (64, 40, 30), np.uint8))
            co.add_ndarray_column("labels", (), "int64").extend(np.arange(200))
            sealed("rows", co, "Images and labels")
            masks = co.add_ndarray_column("masks", (32, 32), "uint16", codec="blosc")
            masks.extend(np.repeat(rng.integers(0, 9, (64, 32, 1)), 32, 2).astype(np.uint16))
            sealed("compressed", co, "Masks")
            texts = co.add_str_column("texts")
            clouds = co.add_ndarray_column("clouds", (90, 3), "float32", variable_shape=True)
            scans = co.add_ndarray_column("scans", (20,), "float64", nested=True)
            # A column that is added has what waits written before it, and so has a nested sample.
            for i in range(4):
                scans[f"scan-{i}"] = {f"slice-{j}": rng.random(20) for j in range(4)}
            texts.update({f"t{i}": f"text {i} " * (1 + i % 40) for i in range(64)})
            for i in range(32):
                clouds[i] = rng.random((1 + i, 3), np.float32)
            sealed("frames", co, "Texts, clouds and scans")
        repo.create_tag("v1", message="first")
        repo.create_branch("side")
        with repo.edit() as co:
            co["images"][3] = rng.integers(0, 256, (40, 30), np.uint8)
            co["texts"]["t5"] = "changed, and kept loose"
            co["labels"][7] = 70
            co.commit("Loose values")
            co["images"][4] = rng.integers(0, 256, (40, 30), np.uint8)
        repo.stash("for later")
        with repo.edit() as co:
            co["images"][5] = rng.integers(0, 256, (40, 30), np.uint8)
            co["labels"][8] = 80
        truth = {revision: read_all(repo, revision) for revision in REVISIONS}
    (path / TRUTH_FILE).write_text(json.dumps(truth))
    return Tiny(path, packs)


def read_all(repo: tv.Repository, revision: str) -> dict[str, dict[str, str]]:
    """Return the digests of all values of a revision, by column and spelled key."""
    found = {}
    with repo.checkout(revision) as co:
        for name, column in co.columns.items():
            found[name] = {spell(key): digest_of(column[key]) for key in column}
    return found


def spell(key: object) -> str:
    """Return a key as text that tells ints from texts."""
    return repr(key)


def digest_of(value: Any) -> str:
    """Return a digest of a value, or of the subsamples of a nested sample."""
    if hasattr(value, "keys"):
        parts = [f"{key!r}:{digest_of(value[key])}" for key in value]
        return digest_value(" ".join(parts)).hex()
    return digest_value(value).hex()
