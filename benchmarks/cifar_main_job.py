"""The main job on a real folder of images: import, branch, merge, conflict, export, train.

    python -m benchmarks.cifar_main_job DIR [--folder DIR] [--no-training]

DIR holds JPEG files in one folder a class, such as the training images of CIFAR-10. What a person
would type is run as ``tvcs`` commands, what a program would do is Python; each step prints its
time. Every step is checked, and the first thing that is not as it should be ends the job.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tensorvcs as tv
from benchmarks.measuring import ROOT, disk_folder
from benchmarks.setting import SEED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHANGED_COUNT = 500
DELETED_COUNT = 100


@dataclass
class Job:
    """The repository at work, and the time of each step so far."""

    path: Path
    times: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print what is done, and how long it took."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.times.append((what, seconds))
        print(f"{seconds:8.2f} s  {what}", flush=True)

    def tvcs(self, *words: str | Path, exit_code: int = 0) -> str:
        """Run one command as a step and return what it said."""
        spelled = " ".join(str(word) if " " not in str(word) else f"'{word}'" for word in words)
        with self.step(f"tvcs {spelled}"):
            done = subprocess.run(
                [sys.executable, "-m", "cli", "-C", self.path, *words],
                check=False,
                capture_output=True,
                text=True,
                cwd=ROOT,
            )
        said = done.stdout + done.stderr
        if done.returncode != exit_code:
            sys.exit(f"{said}\nexit code {done.returncode}, expected {exit_code}")
        for line in said.strip().splitlines()[:6]:
            print(f"            | {line}")
        return said


def edit(job: Job, message: str, changed: Sequence[Any], deleted: Sequence[Any], flip: int) -> None:
    """Change the pixels of some images on the current branch, and delete others."""
    what = f"Python: change {len(changed)} images"
    what += f" and delete {len(deleted)}, commit" if deleted else ", commit"
    with (
        job.step(what),
        tv.open(job.path) as repository,
        repository.edit() as checkout,
    ):
        pixels = repository.checkout()["images"][list(changed)]
        assert isinstance(pixels, np.ndarray)
        checkout["images"].extend(pixels ^ np.uint8(flip), keys=changed)
        for key in deleted:
            del checkout["images"][key]
            del checkout["labels"][key]
        checkout.commit(message)


def merge_branches(job: Job) -> None:
    """Make two branches that fit together and one that does not, and merge them."""
    with tv.open(job.path) as repository:
        keys = list(repository.checkout()["images"].keys())
    order = np.random.default_rng(SEED).permutation(len(keys))
    picked = [keys[at] for at in order[: 2 * CHANGED_COUNT + DELETED_COUNT]]
    cleaned, deleted = picked[:CHANGED_COUNT], picked[CHANGED_COUNT:-CHANGED_COUNT]
    job.tvcs("switch", "-c", "clean")
    edit(job, "Clean 500 images, drop 100", cleaned, deleted, 255)
    job.tvcs("diff", "main", "clean", "--stat")
    job.tvcs("switch", "main")
    edit(job, "Change other images on main", picked[-CHANGED_COUNT:], [], 1)
    job.tvcs("merge", "clean")
    with tv.open(job.path) as repository:
        merged = repository.checkout("main")["images"]
        before = repository.checkout("main~1^1")["images"]
        side = repository.checkout("clean")["images"]
        assert len(merged) == len(keys) - DELETED_COUNT
        assert not any(key in merged for key in deleted)
        assert np.array_equal(merged[cleaned], side[cleaned])
        assert np.array_equal(merged[cleaned], before[cleaned] ^ np.uint8(255))
    job.tvcs("branch", "rival", "main~1")
    job.tvcs("switch", "rival")
    edit(job, "Change the same images in another way", cleaned[:3], [], 127)
    job.tvcs("switch", "main")
    said = job.tvcs("merge", "rival", exit_code=1)
    assert all(str(key) in said for key in cleaned[:3]), said
    job.tvcs("merge", "rival", "--strategy", "ours")
    with tv.open(job.path) as repository:
        assert np.array_equal(
            repository.checkout()["images"][cleaned[:3]], before_rival(job, cleaned[:3])
        )


def before_rival(job: Job, keys: Sequence[Any]) -> Any:
    """Return images as they were on main before the conflict was resolved for it."""
    with tv.open(job.path) as repository:
        return repository.checkout("main~1")["images"][list(keys)]


def export_and_compare(job: Job, destination: Path) -> None:
    """Export every image without loss, read the files back and compare all pixels."""
    from PIL import Image

    job.tvcs("export", "main", destination, "--column", "images")
    with job.step("Python: read every exported file, compare bit by bit"):
        files = {
            path.relative_to(destination).with_suffix("").as_posix(): path
            for path in destination.rglob("*.png")
        }
        with tv.open(job.path) as repository:
            images = repository.checkout("main")["images"]
            assert len(files) == len(images), (len(files), len(images))
            for key, pixels in images.items():
                stem = str(Path(str(key)).with_suffix(""))
                path = files.get(stem) or files[str(key)]
                with Image.open(path) as image:
                    assert np.array_equal(np.asarray(image), pixels), key


def train(job: Job) -> None:
    """Train a small network for one epoch from the merge commit."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    from tensorvcs.torch import TensorDataset

    torch.manual_seed(SEED)
    with tv.open(job.path) as repository:
        dataset = TensorDataset(repository.checkout("main"), ["images", "labels"])
        loader = DataLoader(dataset, batch_size=256, shuffle=True)
        with job.step(f"Python: an epoch of {len(dataset):,} samples, reading alone"):
            assert sum(len(labels) for _, labels in loader) == len(dataset)
        network = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.LazyLinear(10),
        )  # fmt: skip
        network(torch.zeros(1, 3, 32, 32))
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)
        losses = []
        with job.step(f"Python: an epoch of training, {len(dataset):,} samples"):
            for images, labels in loader:
                scaled = images.permute(0, 3, 1, 2).float() / 255
                loss = nn.functional.cross_entropy(network(scaled), labels)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses.append(loss.item())
        print(f"            | loss {losses[0]:.2f} at first, {np.mean(losses[-20:]):.2f} at last")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="JPEG files in one folder a class")
    parser.add_argument("--folder", type=Path, help="where to work, on a real disk")
    parser.add_argument("--no-training", action="store_true", help="leave out what needs torch")
    options = parser.parse_args()
    with disk_folder(options.folder) as folder:
        job = Job(folder / "repository")
        job.path.mkdir()
        job.tvcs("init", "--user-name", "Ada Lovelace", "--user-email", "ada@example.org")
        job.tvcs("import", options.images.resolve(), "--label-column", "labels")
        job.tvcs("commit", "-m", "Import the images")
        merge_branches(job)
        job.tvcs("log", "--oneline", "--graph")
        export_and_compare(job, folder / "exported")
        if not options.no_training:
            train(job)
        job.tvcs("verify")
        print(f"{sum(seconds for _, seconds in job.times):8.2f} s  in all")


if __name__ == "__main__":
    main()
