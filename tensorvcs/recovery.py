"""Recover: a new LMDB environment of all that is left of a damaged one."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import re
import shutil
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tensorvcs.display.counting import count_text
from tensorvcs.display.progress import count_progress
from tensorvcs.errors import (
    CorruptionError,
    ObjectDamagedError,
    StorageError,
    WorkInProgressError,
    with_hint,
)
from tensorvcs.history.operations import Operation
from tensorvcs.maintenance.ref_witnesses import (
    DecidedNames,
    RefDecision,
    RefJudge,
    find_damaged_names,
    may_be_ref,
)
from tensorvcs.maintenance.verify import VerifyReport
from tensorvcs.objects.commit import Identity, Timestamp
from tensorvcs.repository import Repository
from tensorvcs.storage.durable import (
    put_back,
    remove_leftovers,
    replace_folder,
    sync_file,
)
from tensorvcs.storage.folder import Folder, begin_folder, open_folder
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.storage.leases import Leases
from tensorvcs.storage.lmdb_environment import LmdbEnvironment
from tensorvcs.storage.lmdb_recovery import (
    Gathered,
    RecoveredPacks,
    find_damage,
    find_wrong_record,
    gather,
    put_aside,
    read_names,
    recover_packs,
    write_index,
    write_names,
)
from tensorvcs.storage.lmdb_scan import PageFile
from tensorvcs.storage.lock import StagingLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tensorvcs.display.progress import Counted, Shown

_DATA = "data.mdb"
_WAIT_SECONDS = 10.0


@dataclass(slots=True)
class RecoveryReport:
    """What was left of a damaged LMDB file.

    Attributes
    ----------
    damage : str
        What was wrong with it, the first thing that was found; empty when it is sound, and then
        nothing was done.
    is_dry_run : bool
        Whether nothing was changed.
    page_count : int
        Pages that were looked at.
    object_count, loose_count : int
        Objects, and values that are in no pack, that proved themselves.
    pack_count : int
        Packs in the new index.
    rebuilt_packs : list of str
        Pack files whose record was lost: it was made anew from the file, every value of which
        hashes to its name.
    rewritten_packs : list of str
        Pack files whose record was lost and which are damaged: what is whole went to a new pack.
    unreadable_packs : list of str
        Pack files of which nothing can be read.
    operation_count : int
        Records of the operation log.
    refs : list of RefDecision
        Every ref that was found, sorted by name, and how it was decided what it is.
    kept_as : str
        The folder beside the new one that has the damaged file; empty when nothing was replaced.
    missing : VerifyReport
        What the refs reach that is not there, by branch and sample. That the bytes in the packs
        are right is not checked; `Repository.verify` does.
    """

    damage: str = ""
    is_dry_run: bool = False
    page_count: int = 0
    object_count: int = 0
    loose_count: int = 0
    pack_count: int = 0
    rebuilt_packs: list[str] = field(default_factory=list)
    rewritten_packs: list[str] = field(default_factory=list)
    unreadable_packs: list[str] = field(default_factory=list)
    operation_count: int = 0
    refs: list[RefDecision] = field(default_factory=list)
    kept_as: str = ""
    missing: VerifyReport = field(default_factory=VerifyReport)

    @property
    def is_complete(self) -> bool:
        """Whether no ref was left out, and all is there that refs reach."""
        is_left_out = any(decision.value is None for decision in self.refs)
        return not (is_left_out or self.unreadable_packs) and self.missing.is_sound

    def __str__(self) -> str:
        if not self.damage:
            return "sound: nothing to recover"
        found = (
            f"{count_text(self.object_count, 'object')}, "
            f"{count_text(self.loose_count, 'loose value')}, "
            f"{count_text(self.pack_count, 'pack')}, "
            f"{count_text(self.operation_count, 'operation')}"
        )
        refs = "".join(f"\n  {decision}" for decision in self.refs)
        missing = "" if self.missing.is_sound else f"\n{self.missing}"
        return f"{self.damage}\nrecovered {found}{refs}{missing}"


def recover(
    path: str | os.PathLike[str] = ".",
    *,
    dry_run: bool = False,
    user: Identity | None = None,
    progress: Shown[Counted] = None,
) -> RecoveryReport:
    """Make a new LMDB file of all that is left in one that is damaged.

    Commits, trees, loose values, refs, the operation log and the index of the packs are in one LMDB
    file, whose pages have no checksums: one bad block can make all of it unreadable. Nearly all is
    still there then. Every page is looked at, whether it is in use or not. What has a digest proves
    itself; the records of packs are compared with the packs or made anew from them; refs are
    decided by the database where it can be read, by the operation log, and by what stands on pages,
    in this order.

    Parameters
    ----------
    path : path
        The repository, or a folder in it.
    dry_run : bool
        Only tell what would be recovered.
    user : Identity, optional
        Who the operation log names when the settings of the repository name nobody.
    progress : callable or True, optional
        Called with the number of pages that were looked at, and how many there are. True draws a
        bar.

    Returns
    -------
    RecoveryReport
        What was found, how each ref was decided, and what is missing.

    Raises
    ------
    RepositoryNotFoundError, UnsupportedFormatError
        There is no repository at `path`, or it is of a newer version.
    ObjectDamagedError
        Not one commit is left.
    LockedError
        Another process edits the repository, or writes to it.
    StorageError
        The disk refused. Everything is as it was.

    Notes
    -----
    The new file is made beside the old one and takes its place in one step; the old one is kept in
    a folder ``lmdb-damaged-N``, to be removed by hand. Killed at any moment, the one or the other
    is there, and running it again works. Who has the repository open reads on in the old file, and
    is refused when he writes.

    Reads the LMDB file three times and the directory of each pack once; a pack whose record is lost
    is read twice. It takes as much room as the old file. Memory is the operation log, the records
    of the packs, and some tens of MiB.
    """
    folder = open_folder(Path(path))
    with ExitStack() as held:
        if not folder.is_bare:
            held.enter_context(StagingLock(folder.lock_file))
        put_back(folder.lmdb_folder)
        with suppress(FileNotFoundError):
            held.enter_context(_alone(folder.lmdb_folder))
        return _recover(folder, held, dry_run=dry_run, user=user, progress=progress)


@contextmanager
def _alone(lmdb_folder: Path) -> Iterator[None]:
    """Keep writers out of a folder of LMDB; a file system without locks has none to keep out."""
    descriptor = os.open(lmdb_folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise with_hint(
                WorkInProgressError(f"nothing was recovered: {lmdb_folder} is being written"),
                "try again when the writers have ended",
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)


def _recover(
    folder: Folder,
    held: ExitStack,
    *,
    dry_run: bool,
    user: Identity | None,
    progress: Shown[Counted],
) -> RecoveryReport:
    data = folder.lmdb_folder / _DATA
    report = RecoveryReport(is_dry_run=dry_run)
    if not data.is_file():
        report.damage = f"{data} is gone"
        data = Path(os.devnull)
    with PageFile(data) as file:
        report.page_count = file.page_count
        report.damage = report.damage or _damage_of(file, folder.root / "packs") or ""
        if not report.damage:
            return report
        remove_leftovers(folder.lmdb_folder)
        try:
            building, descriptor = begin_folder(folder.lmdb_folder)
        except OSError as error:
            raise StorageError(f"cannot write beside {folder.lmdb_folder}: {error}") from error
        held.callback(os.close, descriptor)
        held.callback(shutil.rmtree, building, ignore_errors=True)
        environment = LmdbEnvironment(building)
        try:
            _keep_work_out(folder, Leases(folder.leases_folder, environment), held)
            with count_progress(progress, "Recovering") as count:
                found = gather(file, environment, may_be_ref, _counting(count, file.page_count))
            _check_any_left(folder, found)
            packs = recover_packs(folder.root / "packs", found.records, is_dry_run=dry_run)
            held.callback(packs.release)
            write_index(environment, packs.records, found.index_version)
        finally:
            environment.close()
    _note(report, found, packs)
    begun = Folder(folder.root, folder.is_bare, building.name)
    with Repository(begun) as repository:
        names = _decide_names(repository, found)
        report.refs = list(names.decisions)
        who = _user_of(repository) or user
        operation = Operation(
            names.next_number,
            "recover",
            report.damage,
            "" if who is None else str(who),
            Timestamp.of(dt.datetime.now().astimezone()),
            tuple(RefChange(*change) for change in names.changes),
        )
        operations = {**names.operations, operation.number: operation.encode()}
        report.operation_count = len(names.operations)
        write_names(repository._environment, names.refs, operations)
        report.missing = repository._verify_links()
    if not dry_run:
        _publish(folder, building, packs, report)
    return report


def _keep_work_out(folder: Folder, leases: Leases, held: ExitStack) -> None:
    try:
        held.enter_context(leases.collection())
        held.enter_context(leases.exclusive(_WAIT_SECONDS))
    except WorkInProgressError as error:
        raise with_hint(
            WorkInProgressError(f"nothing was recovered: {folder.path} is being written"),
            error.hint or "",
        ) from error


def _damage_of(file: PageFile, pack_folder: Path) -> str | None:
    """Return what is wrong with the trees, the records, or the refs; None when all is sound."""
    damage = find_damage(file)
    if damage is None:
        damage = find_damaged_names(read_names(file)[0])
    return damage or find_wrong_record(file, pack_folder)


def _counting(count: Counted | None, page_count: int) -> Callable[[int], None] | None:
    if count is None:
        return None
    return lambda done: count(done, page_count)


def _note(report: RecoveryReport, found: Gathered, packs: RecoveredPacks) -> None:
    report.object_count = found.object_count
    report.loose_count = found.loose_count
    report.pack_count = len(packs.records)
    report.rebuilt_packs = packs.rebuilt
    report.rewritten_packs = packs.rewritten
    report.unreadable_packs = packs.unreadable


def _check_any_left(folder: Folder, found: Gathered) -> None:
    """Refuse to make an empty database, to which all packs would be garbage."""
    if not found.commits and next((folder.root / "packs").glob("*.h5"), None) is not None:
        raise with_hint(
            ObjectDamagedError(
                f"{folder.lmdb_folder / _DATA} has not one commit left, so that nobody knows what "
                "the packs hold; nothing was changed"
            ),
            "bring the file back from a backup, or clone the repository anew from another one",
        )


def _decide_names(repository: Repository, found: Gathered) -> DecidedNames:
    try:
        allow_absent = repository.is_partial
    except CorruptionError:
        allow_absent = True
    stores = repository._receiving_stores()
    judge = RefJudge(
        stores,
        repository._nodes,
        allow_absent=allow_absent,
        names=found.names,
        operations=found.operations,
        refs=found.refs,
        commits=found.commits,
    )
    return judge.decide()


def _user_of(repository: Repository) -> Identity | None:
    try:
        return repository.user
    except CorruptionError:
        return None


def _publish(folder: Folder, building: Path, packs: RecoveredPacks, report: RecoveryReport) -> None:
    """Put the new environment in the place of the old one."""
    pack_folder = folder.root / "packs"
    # Nothing is lost with these; the next writer would take them for garbage.
    put_aside(pack_folder, packs.unreadable)
    for name in (_DATA, "lock.mdb"):
        sync_file(building / name)
    folder.lmdb_folder.mkdir(exist_ok=True)
    aside = _next_name(folder.lmdb_folder)
    replace_folder(building, folder.lmdb_folder, aside)
    report.kept_as = aside.name
    put_aside(pack_folder, packs.rewritten)


def _next_name(lmdb_folder: Path) -> Path:
    """Return the first free name ``lmdb-damaged-N``."""
    pattern = re.compile(re.escape(lmdb_folder.name) + r"-damaged-([1-9][0-9]{0,8})(-old)?")
    matches = (pattern.fullmatch(entry.name) for entry in lmdb_folder.parent.iterdir())
    numbers = [int(match[1]) for match in matches if match is not None]
    return lmdb_folder.with_name(f"{lmdb_folder.name}-damaged-{max(numbers, default=0) + 1}")
