"""The repository that the examples of the help texts speak of: a small story over a month.

The commits are signed by their committers: first pictures, dogs from another source, tag `v1`,
labels that a source got wrong, masks, tag `v2`, captions. Branch `experiment` merges cleanly,
`relabel` conflicts with `main`, `release` is behind and `trial` is merged. Beside the repository
lie the files and folders that examples read.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

import tensorvcs as tv
from tests.ssh_keys import write_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ADA = tv.Identity("Ada Lovelace", "ada@example.org")
BOB = tv.Identity("Bob", "bob@uni-3.example")
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=1)))
CATS = [f"cat/{number}" for number in range(1, 9)]
DOGS = [f"dog/{number}" for number in range(1, 9)]

EVALUATE = '''\
"""Print the share of labels that are right, which stands for the score of a model."""
import os
import sys

import tensorvcs as tv

with tv.open(os.environ["TENSORVCS_REPOSITORY"]) as repo:
    labels = repo.checkout(os.environ["TENSORVCS_REVISION"])["labels"]
    right = [int(labels[key]) == int(key.startswith("dog")) for key in labels.keys()]
score = sum(right) / len(right)
print(score)
if "--commit" not in sys.argv and score < 0.9:
    sys.exit(1)
'''
LOSS = EVALUATE.replace("print(score)", "print(1 - score)").replace("0.9", "0")


def make_example_repository(folder: Path) -> None:
    """Make the repository of the story in a new folder."""
    folder.mkdir(parents=True)
    story = _Story(folder)
    story.commit(30, "First pictures", _add_columns, {"source": "uni-1"})
    story.commit(24, "More dogs", _add_dogs, {"source": "uni-2", "script": "import.py@3f9a12c"})
    with story.repo as repo:
        repo.create_tag("before-cleaning")
        repo.create_branch("trial")
        story.commit(20, "Sharper pictures of cats", _sharpen, {"source": "camera-3"})
        repo.create_tag("v1", message="As used in the paper")
        for branch in ("release", "experiment", "relabel"):
            repo.create_branch(branch)
        story.commit(16, "Labels of uni-3", _mislabel, {"source": "uni-3"}, BOB)
        story.commit(9, "Masks by hand", _draw_masks, {"source": "uni-1"})
        repo.create_tag("v2")
        repo.switch("experiment")
        story.commit(6, "Brighter dogs", _brighten)
        repo.switch("relabel")
        story.commit(5, "Labels by a second reader", _relabel)
        repo.switch("main")
        story.commit(1, "Captions", _add_captions)
    _make_files(folder)


class _Story:
    """Commits at dates before `NOW`, by Ada or by Bob, each signed with their key."""

    def __init__(self, folder: Path) -> None:
        self.repo = tv.init(folder, ADA.name, ADA.email)
        self._signers = {
            who: tv.SshSigner.open(write_key(folder / name, number))
            for number, (name, who) in enumerate([("ada_key", ADA), ("bob_key", BOB)], 1)
        }
        lines = [f"{who.email} {signer.public_key}\n" for who, signer in self._signers.items()]
        (folder / "allowed_signers").write_text("".join(lines))

    def commit(
        self,
        days_ago: int,
        message: str,
        change: Callable[[Any], None],
        metadata: Mapping[str, str] | None = None,
        who: tv.Identity = ADA,
    ) -> None:
        self.repo.record_as(who, lambda: NOW - dt.timedelta(days=days_ago))
        with self.repo.edit() as staging:
            change(staging)
            staging.commit(message, metadata=metadata, sign=self._signers[who])


def _picture(key: str, brightness: int = 90) -> Any:
    rows = np.arange(12)[:, None, None] * (3 if key.startswith("cat") else 7)
    return np.broadcast_to(rows + brightness, (12, 12, 3)).astype(np.uint8)


def _add_columns(staging: Any) -> None:
    staging.add_ndarray_column("images", (12, 12, 3), "uint8")
    staging.add_ndarray_column("labels", (), "int64")
    staging.add_ndarray_column("masks", (12, 12), "bool")
    staging["images"].update({key: _picture(key) for key in CATS})
    staging["labels"].update(dict.fromkeys(CATS, 0))


def _add_dogs(staging: Any) -> None:
    staging["images"].update({key: _picture(key) for key in DOGS})
    staging["labels"].update(dict.fromkeys(DOGS, 1))


def _sharpen(staging: Any) -> None:
    staging["images"].update({key: _picture(key, 120) for key in CATS[:3]})


def _mislabel(staging: Any) -> None:
    staging["labels"].update(dict.fromkeys(CATS[:4], 1))


def _draw_masks(staging: Any) -> None:
    staging["masks"].update({key: np.tri(12, dtype=bool) for key in CATS})
    staging["labels"]["cat/4"] = 0


def _brighten(staging: Any) -> None:
    staging["images"].update({key: _picture(key, 150) for key in DOGS[:2]})
    staging["labels"]["cat/8"] = 2


def _relabel(staging: Any) -> None:
    staging["labels"].update({"cat/1": 2, "cat/2": 3, "dog/1": 4})


def _add_captions(staging: Any) -> None:
    staging.add_str_column("captions")
    staging["captions"].update({"cat/1": "a cat on a mat", "dog/7": "a dog in the fog"})


def _make_files(folder: Path) -> None:
    np.save(folder / "embeddings.npy", np.linspace(0, 1, 40, dtype=np.float32).reshape(10, 4))
    np.save(folder / "mask.npy", np.tri(12, dtype=bool))
    np.save(folder / "label.npy", np.array(1))
    with h5py.File(folder / "scans.h5", "w") as file:
        file["scans"] = np.arange(60, dtype=np.int16).reshape(5, 3, 4)
    (folder / "people.csv").write_text("name,age\nann,31\nbob,27\n")
    (folder / "evaluate.py").write_text(EVALUATE)
    (folder / "loss.py").write_text(LOSS)
    make_photos(folder / "photos")


def make_photos(folder: Path) -> None:
    """Make a folder of pictures with a folder for each class."""
    from PIL import Image

    for key in [*CATS[:3], *DOGS[:3]]:
        file = (folder / key).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_picture(key)).save(file)
