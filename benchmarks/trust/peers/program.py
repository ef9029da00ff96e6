"""Run the store of one system: ``python -m benchmarks.trust.peers.program MODULE COMMAND ...``.

- ``about`` prints what is measured, and which files hold its tensors;
- ``create FOLDER`` makes an empty store;
- ``write FOLDER WRITER FIRST COUNT SECONDS`` waits for a line on standard input, commits versions,
  and tells of each by a line once the system has said that it is done; a commit that lost a race
  is tried again for so many seconds;
- ``read`` reads stores: for each line ``{"folder": ..., "acks": [...], "mends": ...}`` on standard
  input it prints what it found of what was acknowledged, once the system was asked to mend the
  store, where that is wanted and the system can.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.trust.peers.rows import keys_of_commit, row_of

# Versions that are opened to see whether what they were acknowledged with is in them.
_VERSIONS = 12
# A look that takes longer is stuck.
_LOOK_SECONDS = 20


def tell(**fields: Any) -> None:
    """Print a line at once, in one write."""
    sys.stdout.flush()
    os.write(1, json.dumps(fields).encode() + b"\n")


def write(store: Any, folder: Path, number: int, first: int, count: int, seconds: int) -> int:
    """Commit versions; an error that is no lost race ends the program."""
    try:
        writer = store.Writer(folder, number)
    except Exception as error:  # noqa: BLE001 (what a system raises is what is counted)
        tell(failed=f"{type(error).__name__}: {error}"[:300])
        return 1
    tell(ready=True)
    sys.stdin.readline()
    retried = tuple(getattr(store, "RETRIED", ()))
    for at in range(first, first + count):
        keys = keys_of_commit(number, at)
        rows = {key: row_of(key) for key in keys}
        deadline = time.monotonic() + seconds
        while True:
            try:
                version = writer.commit(rows)
            except Exception as error:  # noqa: BLE001 (what a system raises is what is counted)
                said = f"{type(error).__name__}: {error}"
                if time.monotonic() < deadline and any(word in said for word in retried):
                    continue
                tell(failed=said[:300], keys=keys)
                return 1
            break
        tell(keys=keys, version=version)
    return 0


def look(store: Any, folder: Path, acks: list[dict[str, Any]]) -> dict[str, Any]:
    """Read all that was acknowledged from the newest version, and from some versions."""
    found: dict[str, Any] = {
        "right": 0, "wrong": 0, "missing": 0, "errors": {}, "foreign": [], "is_opened": False,
        "is_sound": None, "notes": [],
    }  # fmt: skip

    def failed(where: str, error: BaseException) -> None:
        kind = type(error).__name__
        found["errors"][kind] = found["errors"].get(kind, 0) + 1
        note(f"{where}: {kind}: {str(error)[:120]}")

    def note(text: str) -> None:
        if len(found["notes"]) < 6:
            found["notes"].append(text)

    every = [key for ack in acks for key in ack["keys"]]
    steps = max(1, len(acks) // _VERSIONS)
    looks = [(None, every)]
    looks += [(a["version"], a["keys"]) for a in acks[::steps] if a["version"] is not None]
    for version, keys in looks:
        where = "newest" if version is None else f"version {version}"
        try:
            reader = store.Reader(folder, version)
            found["is_opened"] = True
            rows = reader.read(keys)
        except Exception as error:  # noqa: BLE001 (what a system raises is what is counted)
            failed(where, error)
            continue
        except BaseException as error:  # noqa: BLE001 (so Rust says that it panicked)
            found["foreign"].append(f"{where}: {type(error).__name__}: {error}"[:200])
            continue
        for key in keys:
            row = rows.get(key)
            if isinstance(row, Exception):
                failed(f"{where}, {key}", row)
            elif row is None:
                found["missing"] += 1
                note(f"{where} lacks {key}")
            elif np.array_equal(row, row_of(key)):
                found["right"] += 1
            else:
                found["wrong"] += 1
                note(f"{where}, {key} is another row")
    return found


def look_for_lines(store: Any) -> int:
    """Answer each line on standard input.

    A child looks, since a look may end its process; but where threads run already, which a child
    would lack, this process looks itself, and whoever asked starts another when it ended.
    """
    answers = os.dup(1)
    # Libraries print.
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    faulthandler.disable()
    for line in sys.stdin:
        request = json.loads(line)
        request["mends"] &= hasattr(store, "mend")

        def answer(request: Any = request) -> None:
            signal.alarm(_LOOK_SECONDS)
            if request["mends"]:
                store.mend(Path(request["folder"]))
            found = look(store, Path(request["folder"]), request["acks"])
            signal.alarm(0)
            os.write(answers, json.dumps(found).encode() + b"\n")

        if not getattr(store, "FORKS", True):
            answer()
            continue
        child = os.fork()
        if child == 0:
            answer()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
            name = signal.Signals(ended).name if ended > 0 else f"exit {-ended}"
            os.write(answers, json.dumps({"foreign": [name], "is_opened": True}).encode() + b"\n")
    return 0


def main(words: list[str]) -> int:
    """Do one command."""
    module, command, *rest = words
    store = importlib.import_module(f"benchmarks.trust.peers.{module}")
    if command == "about":
        tell(version=store.version(), tensors=store.TENSORS)
    elif command == "create":
        store.create(Path(rest[0]))
    elif command == "write":
        return write(store, Path(rest[0]), *map(int, rest[1:]))
    elif command == "read":
        return look_for_lines(store)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
