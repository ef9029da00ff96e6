"""Run the store of one system: ``python -m benchmarks.trust.peers.program MODULE COMMAND ...``.

- ``version`` prints what is measured;
- ``create FOLDER`` makes an empty store;
- ``write FOLDER WRITER FIRST COUNT`` commits versions and tells of each by a line, once the system
  has said that it is done;
- ``read`` reads stores: for each line ``{"folder": ..., "acks": [...]}`` on standard input it
  prints what it found of what was acknowledged.
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
# A look that takes longer is stuck; an act that races or fails is tried again for so long.
_LOOK_SECONDS = 60
_RETRY_SECONDS = 60.0


def tell(**fields: Any) -> None:
    """Print a line at once, in one write."""
    sys.stdout.flush()
    os.write(1, json.dumps(fields).encode() + b"\n")


def write(store: Any, folder: Path, number: int, first: int, count: int) -> int:
    """Commit versions; an error that is no lost race ends the program."""
    writer = store.Writer(folder, number)
    tell(ready=True)
    retried = tuple(getattr(store, "RETRIED", ()))
    for at in range(first, first + count):
        keys = keys_of_commit(number, at)
        rows = {key: row_of(key) for key in keys}
        deadline = time.monotonic() + _RETRY_SECONDS
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
    """Answer each line on standard input; a child looks, since a look may end its process."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            faulthandler.disable()
            # A file descriptor of its own: libraries print to standard output.
            silent = os.open(os.devnull, os.O_WRONLY)
            answer = os.dup(1)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            signal.alarm(_LOOK_SECONDS)
            found = look(store, Path(request["folder"]), request["acks"])
            os.write(answer, json.dumps(found).encode() + b"\n")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
            name = signal.Signals(ended).name if ended > 0 else f"exit {-ended}"
            tell(foreign=[name], is_opened=True)
    return 0


def main(words: list[str]) -> int:
    """Do one command."""
    module, command, *rest = words
    store = importlib.import_module(f"benchmarks.trust.peers.{module}")
    if command == "version":
        print(store.version())
    elif command == "create":
        store.create(Path(rest[0]))
    elif command == "write":
        return write(store, Path(rest[0]), *map(int, rest[1:]))
    elif command == "unlock":
        store.unlock(Path(rest[0]))
    elif command == "read":
        return look_for_lines(store)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
