"""A process that does one thing at a time to a repository, when it is told to over a pipe."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import tensorvcs as tv
from tensorvcs.storage import garbage_site
from tests.concurrency.processes import CONTEXT
from tests.numbered_values import check_every_read, content_of, kind_of
from tests.property.repository_machine import edit_both

if TYPE_CHECKING:
    from pathlib import Path

    from tests import model


class Steps:
    """What a worker can be told; what is open stays open between the steps."""

    def __init__(self) -> None:
        self.repo: Any = None
        self.editor: Any = None
        self.transaction: Any = None
        self.private: Any = None
        self.reader: Any = None
        self.seconds = 1_700_000_000

    def open(self, path: Path, number: int) -> None:
        self.close()
        self.repo = tv.open(path)
        offset = dt.timedelta(milliseconds=number)

        def clock() -> dt.datetime:
            self.seconds += 1
            return dt.datetime.fromtimestamp(self.seconds, dt.UTC) + offset

        self.repo.record_as(clock=clock)

    def close(self) -> None:
        for held in (self.editor, self.private):
            if held is not None:
                held.abandon()
        self.editor = self.transaction = self.private = None
        if self.reader is not None:
            self.reader.close()
            self.reader = None
        if self.repo is not None:
            self.repo.close()
            self.repo = None

    def names(self) -> tuple[str, dict[str, str], bool]:
        branches = {name: commit.id for name, commit in self.repo.branches.items()}
        return self.repo.head, branches, self.repo.is_dirty

    def working(self) -> tuple[model.Content, str | None]:
        with self.repo.edit() as co:
            return content_of(co), co.base and co.base.id

    # The working staging area

    def edit(self) -> tuple[model.Content, str | None]:
        editor = self.repo.edit()
        self.editor = editor
        return content_of(editor), editor.base and editor.base.id

    def change(
        self, steps: list[Any], start: model.Content, base: model.Content
    ) -> tuple[model.Content, model.Content]:
        return edit_both(self.editor, [*steps, ("flush",)], start, base)

    def change_unflushed(self, key: str) -> None:
        if "x" in self.editor and kind_of(self.editor["x"]) == "label":
            self.editor["x"][key] = 1

    def commit(self) -> tuple[str, tuple[str, ...]]:
        made = self.editor.commit("edit")
        return made.id, made.parents

    def leave(self) -> None:
        editor, self.editor = self.editor, None
        editor.close()

    # A transaction

    def begin(self, branch: str) -> None:
        self.transaction = self.repo.transaction(branch)
        self.private = self.transaction.__enter__()

    def change_privately(
        self, steps: list[Any], start: model.Content, base: model.Content
    ) -> tuple[model.Content, model.Content]:
        return edit_both(self.private, steps, start, base)

    def end(self) -> tuple[str, tuple[str, ...]] | None:
        transaction, self.transaction, self.private = self.transaction, None, None
        transaction.__exit__(None, None, None)
        return transaction.commit and (transaction.commit.id, transaction.commit.parents)

    # The rest

    def merge(self, source: str, into: str, strategy: Any) -> tuple[str, tuple[str, ...]]:
        made = self.repo.merge(source, into, strategy=strategy).commit
        return made.id, made.parents

    def call(self, name: str, *arguments: Any) -> None:
        getattr(self.repo, name)(*arguments)

    def delete_branch(self, name: str) -> None:
        self.repo.delete_branch(name, force=True)

    def collect(self) -> None:
        # Who writes in the other worker does not end while this one waits.
        garbage_site.WAIT_SECONDS = 0.0
        self.repo.gc(grace=0)

    def read(self, commit: str, content: model.Content) -> None:
        with self.repo.checkout(commit) as co:
            check_every_read(co, content)

    def hold(self, branch: str) -> None:
        self.reader = self.repo.checkout(branch)

    def read_held(self, content: model.Content) -> None:
        check_every_read(self.reader, content)
        self.reader.close()
        self.reader = None

    def verify(self) -> bool:
        return bool(self.repo.verify().is_sound)


class Worker:
    """One process; `call` tells it a step, and returns or raises what came of it."""

    def __init__(self) -> None:
        self._pipe, far = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_work, args=(far,), daemon=True)
        self._process.start()
        far.close()

    def call(self, step: str, *arguments: Any) -> Any:
        self._pipe.send((step, arguments))
        if not self._pipe.poll(120):
            raise TimeoutError(step)
        is_error, outcome = self._pipe.recv()
        if is_error:
            raise outcome
        return outcome

    def kill(self) -> None:
        self._process.kill()
        self._process.join(60)
        self._pipe.close()


def _work(pipe: Any) -> None:
    steps = Steps()
    while True:
        try:
            step, arguments = pipe.recv()
        except EOFError:
            return
        try:
            outcome = (False, getattr(steps, step)(*arguments))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other side raises it
            outcome = (True, error)
        pipe.send(outcome)
