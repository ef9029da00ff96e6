"""The main job on real images, step by step: import, branch, change, diff, merge, export, train.

    make demo

Works in a new folder `.demo/` and needs no server. Each step prints what a person would type, what
came of it, and how long it took.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

import tensorvcs as tv
from tensorvcs.torch import TensorDataset

HERE = Path(__file__).parent
WORK = HERE.parent / ".demo"
DIGITS = WORK / "digits"
REPOSITORY = WORK / "repository"
EXPORTED = WORK / "exported"
EPOCHS = 8


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n== {text}")


def tvcs(*arguments: str, expect: int = 0) -> None:
    """Run a command as a person would, and show it with its output and time."""
    print("$ tvcs " + " ".join(f"'{a}'" if " " in a else a for a in arguments))
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tensorvcs_cli", "-C", str(REPOSITORY), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    for line in (done.stdout + done.stderr).splitlines():
        print(f"  {line}")
    print(f"  ({seconds:.2f} s)")
    if done.returncode != expect:
        raise SystemExit(f"tvcs {arguments[0]} ended with {done.returncode}, expected {expect}")


def make_changes(repository: tv.Repository) -> None:
    """Invert fifty images on the current branch and drop ten."""
    started = time.perf_counter()
    with repository.edit() as co:
        images, labels = co["images"], co["labels"]
        keys = images.keys()[:60]
        images.update({key: 255 - images[key] for key in keys[:50]})
        for key in keys[50:]:
            del images[key], labels[key]
        co.commit("Invert 50 images, drop 10")
    print(f"  50 images changed, 10 deleted, committed in {time.perf_counter() - started:.3f} s")


def conflict(repository: tv.Repository) -> None:
    """Give one sample another label on two branches."""
    key = repository.checkout()["labels"].keys()[0]
    repository.create_branch("relabel")
    with repository.transaction("relabel", "Call it a nine") as tx:
        tx["labels"][key] = 9
    with repository.transaction("main", "Call it a seven") as tx:
        tx["labels"][key] = 7


def train(repository: tv.Repository, revision: str) -> float:
    """Train a small network from a commit and return its accuracy on a fifth of the digits."""
    started = time.perf_counter()
    torch.manual_seed(0)
    checkout = repository.checkout(revision)
    keys = checkout["images"].keys()[:]
    learn = TensorDataset(
        checkout, ["images", "labels"], keys=[k for i, k in enumerate(keys) if i % 5]
    )
    test = TensorDataset(checkout, ["images", "labels"], keys=keys[::5])
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(32 * 32, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    order = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for images, labels in DataLoader(learn, batch_size=64, shuffle=True, generator=order):
            loss = torch.nn.functional.cross_entropy(network(images.float() / 255), labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    right = 0
    with torch.no_grad():
        for images, labels in DataLoader(test, batch_size=256):
            right += int((network(images.float() / 255).argmax(1) == labels).sum())
    accuracy = right / len(test)
    print(
        f"  {revision}: {len(learn)} digits, {EPOCHS} epochs, accuracy {accuracy:.3f} "
        f"on {len(test)} others ({time.perf_counter() - started:.2f} s)"
    )
    return accuracy


def check_export(repository: tv.Repository) -> None:
    """Compare every exported picture with its tensor, bit by bit."""
    from PIL import Image

    images = repository.checkout()["images"]
    for key, tensor in images.items():
        with Image.open(EXPORTED / key) as picture:
            assert np.array_equal(np.asarray(picture), tensor), key
    print(f"  {len(images)} exported files are bit for bit the tensors they came from")


def main() -> None:
    """Run all steps."""
    if WORK.exists():
        shutil.rmtree(WORK)
    with zipfile.ZipFile(HERE / "digits.zip") as archive:
        archive.extractall(WORK)
    REPOSITORY.mkdir()

    say("A repository, and 1,797 hand-written digits as tensors")
    tvcs("init", "--user-name", "Ada", "--user-email", "ada@example.org")
    tvcs("import", str(DIGITS), "--column", "images", "--label-column", "labels")
    tvcs("status")
    tvcs("commit", "-m", "1,797 digits from the UCI repository")
    tvcs("tag", "v1")

    repository = tv.open(REPOSITORY)
    say("A branch where fifty images change and ten go")
    tvcs("switch", "-c", "inverted")
    make_changes(repository)
    tvcs("diff", "main", "inverted", "--stat")

    say("Merge it")
    tvcs("switch", "main")
    tvcs("merge", "inverted")

    say("Two branches that disagree about one label")
    conflict(repository)
    tvcs("merge", "relabel", expect=1)
    tvcs("merge", "relabel", "--strategy", "theirs", "-m", "Believe the relabellers")
    tvcs("log", "--graph", "--oneline")

    say("Back to files, bit for bit")
    tvcs("export", str(EXPORTED), "--column", "images", "--format", "images")
    check_export(repository)

    say("Train from any commit")
    train(repository, "v1")
    train(repository, "main")

    say("Take the last step back, and check everything")
    tvcs("undo")
    tvcs("op", "log")
    tvcs("verify")
    tvcs("stats")
    print(f"\nThe repository is in {REPOSITORY}. Try: .venv/bin/tvcs -C {REPOSITORY} log --graph")


if __name__ == "__main__":
    main()
