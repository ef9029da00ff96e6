"""The experiments: what is harmed, how, and how often; a function each.

An experiment is given a `Trial` and yields tallies. It copies the tiny repository for each run,
harms the copy, and has it looked at.
"""

from __future__ import annotations

import random
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import lmdb

from benchmarks.trust import harm
from benchmarks.trust.sudden_ends import SUDDEN_ENDS
from benchmarks.trust.tally import Tally
from benchmarks.trust.writers import parallel_writers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from benchmarks.trust.probe import Probe
    from benchmarks.trust.tally import Reading
    from benchmarks.trust.tiny import Tiny

PAGE_NBYTES = 4096
HEAD_NBYTES = 152
"""Of a head page of LMDB, what has a meaning."""

_LMDB = ".tensorvcs/lmdb/data.mdb"


@dataclass(frozen=True, slots=True)
class Trial:
    """What an experiment is given.

    Attributes
    ----------
    folder : Path
        Empty, to work in.
    tiny : Tiny
        The repository to harm copies of.
    probe : Probe
    run_count : int
        Runs of each tally, about.
    seed : int
    """

    folder: Path
    tiny: Tiny
    probe: Probe
    run_count: int
    seed: int = 0

    def random(self, name: str) -> random.Random:
        """Return the random numbers of one tally: the same for the same seed."""
        return random.Random(f"{self.seed} {name}")

    def harmed(self, act: Callable[[Path], object], *, recovers: bool = False) -> Reading:
        """Harm a fresh copy and return what can be read of it.

        With `recovers` what is not whole is recovered and looked at again.
        """
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.tiny.path, copy)
        act(copy)
        reading = self.probe.look(copy)
        if recovers and not reading.is_whole:
            reading.recovered = self.probe.look(copy, recovers=True)
        return reading

    def file(self, name: str) -> str:
        """Return the path in a repository of a pack, by what it holds, or of another file."""
        path = self.tiny.packs.get(name)
        return name if path is None else str(path.relative_to(self.tiny.path))

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        return (self.tiny.path / self.file(name)).stat().st_size


def spread(drawn: random.Random, size: int, count: int) -> Iterator[int]:
    """Yield offsets, one drawn from each of `count` equal stretches, so that none is left out."""
    edges = [size * i // count for i in range(count + 1)]
    for low, high in pairwise(edges):
        if low < high:
            yield drawn.randrange(low, high)


def pack_bit_flips(trial: Trial) -> Iterator[Tally]:
    """Flip one bit in a pack of each kind: headers, slabs, directory, offsets, shapes."""
    for name in trial.tiny.packs:
        yield _flips(trial, f"bit flips, pack of {name}", name)


def settings_bit_flips(trial: Trial) -> Iterator[Tally]:
    """Flip one bit in the settings, or in the lock file of LMDB."""
    yield _flips(trial, "bit flips, settings", ".tensorvcs/config.json")
    yield _flips(trial, "bit flips, lock file of LMDB", ".tensorvcs/lmdb/lock.mdb")


def lmdb_bit_flips(trial: Trial) -> Iterator[Tally]:
    """Flip one bit in the LMDB file, behind its two head pages; then in the heads of its pages.

    The page at the root of a tree holds the only way to its records: a reader that cannot begin
    says so, and ``recover`` finds them on their own pages.
    """
    yield _flips(trial, "bit flips, LMDB file", _LMDB, first=2 * PAGE_NBYTES)
    tally = Tally("bit flips, page heads of LMDB")
    drawn = trial.random(tally.experiment)
    for at in spread(drawn, trial.size(_LMDB) - 2 * PAGE_NBYTES, trial.run_count):
        page = 2 + at // PAGE_NBYTES
        place, bit = page * PAGE_NBYTES + drawn.randrange(96), drawn.randrange(8)
        reading = trial.harmed(
            lambda copy, p=place, b=bit: harm.flip_bit(copy / _LMDB, p, b),  # type: ignore[misc]
            recovers=True,
        )
        run = f"page {page}, byte {place % PAGE_NBYTES}, bit {bit}"
        tally.add(run, reading)
    yield tally


def root_bit_flips(trial: Trial) -> Iterator[Tally]:
    """Flip one bit where a reader begins: the format file or its copy, the head pages of LMDB.

    Of the head pages: a reader that cannot begin says so, and ``recover`` does without them.
    """
    yield _flips(trial, "bit flips, format file", ".tensorvcs/format.json")
    yield _flips(trial, "bit flips, copy of the format file", ".tensorvcs/format-copy.json")
    tally = Tally("bit flips, head pages of LMDB")
    drawn = trial.random(tally.experiment)
    for at in spread(drawn, 2 * HEAD_NBYTES, trial.run_count):
        page, byte = divmod(at, HEAD_NBYTES)
        place, bit = page * PAGE_NBYTES + byte, drawn.randrange(8)
        reading = trial.harmed(
            lambda copy, p=place, b=bit: harm.flip_bit(copy / _LMDB, p, b),  # type: ignore[misc]
            recovers=True,
        )
        tally.add(f"page {page}, byte {byte}, bit {bit}", reading)
    yield tally


def _flips(
    trial: Trial,
    experiment: str,
    name: str,
    *,
    first: int = 0,
) -> Tally:
    tally = Tally(experiment)
    drawn = trial.random(experiment)
    for at in spread(drawn, trial.size(name) - first, trial.run_count):
        place, bit = first + at, drawn.randrange(8)
        reading = trial.harmed(
            lambda copy, p=place, b=bit: harm.flip_bit(copy / trial.file(name), p, b),  # type: ignore[misc]
            recovers=name == _LMDB,
        )
        tally.add(f"byte {place}, bit {bit}", reading)
    return tally


def zeroed_blocks(trial: Trial) -> Iterator[Tally]:
    """Overwrite a block of a pack, or a page of LMDB, with zeros."""
    for name in trial.tiny.packs:
        tally = Tally(f"zeroed block, pack of {name}")
        drawn = trial.random(tally.experiment)
        for at in spread(drawn, trial.size(name), max(4, trial.run_count // 4)):
            reading = trial.harmed(
                lambda copy, name=name, at=at: harm.zero_block(copy / trial.file(name), at)  # type: ignore[misc]
            )
            tally.add(f"byte {at}", reading)
        yield tally
    tally = Tally("zeroed page of LMDB")
    pages = range(trial.size(_LMDB) // PAGE_NBYTES)
    for page in trial.random(tally.experiment).sample(pages, min(len(pages), trial.run_count)):
        reading = trial.harmed(
            lambda copy, at=page * PAGE_NBYTES: harm.zero_block(copy / _LMDB, at, PAGE_NBYTES),  # type: ignore[misc]
            recovers=True,
        )
        tally.add(f"page {page}", reading)
    yield tally


def truncations(trial: Trial) -> Iterator[Tally]:
    """Cut a pack, or the LMDB file, at any byte.

    Of a small LMDB file that was cut there may be no commit left, and then nothing to read.
    """
    for name in (*trial.tiny.packs, _LMDB):
        tally = Tally(f"truncated {'LMDB file' if name == _LMDB else f'pack of {name}'}")
        drawn = trial.random(tally.experiment)
        for at in spread(drawn, trial.size(name), max(4, trial.run_count // 4)):
            reading = trial.harmed(
                lambda copy, name=name, at=at: harm.truncate(copy / trial.file(name), at),  # type: ignore[misc]
                recovers=name == _LMDB,
            )
            tally.add(f"at {at}", reading, may_be_unreadable=name == _LMDB)
        yield tally


def swapped_and_deleted_packs(trial: Trial) -> Iterator[Tally]:
    """Have two packs change their names, or delete one."""
    names = list(trial.tiny.packs)
    swapped = Tally("swapped packs")
    for one in range(len(names)):
        for other in range(one):
            reading = trial.harmed(
                lambda copy, one=one, other=other: harm.swap(  # type: ignore[misc]
                    copy / trial.file(names[one]), copy / trial.file(names[other])
                )
            )
            swapped.add(f"{names[one]} and {names[other]}", reading)
    yield swapped
    deleted = Tally("deleted packs")
    for name in names:
        reading = trial.harmed(lambda copy, name=name: (copy / trial.file(name)).unlink())  # type: ignore[misc]
        deleted.add(name, reading)
    yield deleted


RECORD_HARMS: Mapping[str, Callable[[bytes, bytes], bytes | None]] = {
    "one bit": lambda content, _: content[:-1] + bytes([content[-1] ^ 1]),
    "first byte": lambda content, _: bytes([content[0] ^ 0x80]) + content[1:],
    "cut": lambda content, _: content[: len(content) // 2],
    "empty": lambda content, _: b"",
    "garbage": lambda content, _: b"\xff\x00garbage" * 5,
    "another's": lambda _, other: other,
    "gone": lambda content, _: None,
}
"""What is done to one record of LMDB, given its content and that of the next one."""


def damaged_records(trial: Trial) -> Iterator[Tally]:
    """Harm one record of each database of LMDB in every way."""
    for database in ("objects", "loose", "packs", "refs", "operations"):
        tally = Tally(f"damaged record, {database}")
        drawn = trial.random(tally.experiment)
        with _records(trial.tiny.path, database) as (txn, _):
            keys = [bytes(key) for key, _ in txn.cursor()]
        chosen = drawn.sample(keys, min(len(keys), max(1, trial.run_count // len(RECORD_HARMS))))
        for key in chosen:
            for how, change in RECORD_HARMS.items():
                if (database, how) == ("refs", "another's"):
                    # That is a branch that was moved: right to read, and for `verify` to tell.
                    continue
                reading = trial.harmed(
                    lambda copy, database=database, key=key, change=change: change_record(  # type: ignore[misc]
                        copy, database, key, change
                    ),
                    recovers=True,
                )
                tally.add(f"{key[:40]!r} {how}", reading)
        yield tally


def change_record(
    path: Path, database: str, key: bytes, change: Callable[[bytes, bytes], bytes | None]
) -> None:
    """Change one record of the repository at `path`; None deletes it."""
    with _records(path, database) as (txn, _):
        items = [(bytes(k), bytes(v)) for k, v in txn.cursor()]
        place = next(i for i, (found, _) in enumerate(items) if found == key)
        changed = change(items[place][1], items[(place + 1) % len(items)][1])
        if changed is None:
            txn.delete(key)
        else:
            txn.put(key, changed)


@contextmanager
def _records(path: Path, database: str) -> Iterator[tuple[lmdb.Transaction, lmdb.Environment]]:
    environment = lmdb.open(str(path / ".tensorvcs" / "lmdb"), max_dbs=16, map_size=1 << 30)
    try:
        handle = environment.open_db(database.encode(), create=False)
        with environment.begin(handle, write=True) as txn:
            yield txn, environment
    finally:
        environment.close()


EXPERIMENTS: Mapping[str, Callable[[Trial], Iterator[Tally]]] = {
    "pack-bit-flips": pack_bit_flips,
    "lmdb-bit-flips": lmdb_bit_flips,
    "settings-bit-flips": settings_bit_flips,
    "root-bit-flips": root_bit_flips,
    "zeroed-blocks": zeroed_blocks,
    "truncations": truncations,
    "swapped-packs": swapped_and_deleted_packs,
    "damaged-records": damaged_records,
    "writers": parallel_writers,
    **SUDDEN_ENDS,
}
"""Experiments by name; each yields the rows that it adds to the table."""
