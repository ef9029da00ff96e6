"""Who calls and from where: the repository, the environment, the user's own settings."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import tensorvcs
from tensorvcs.errors import (
    CorruptionError,
    InvalidInputError,
    RepositoryNotFoundError,
    StorageError,
    with_hint,
)
from tensorvcs.storage.durable import alone_in, new_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_STANDARD_ERROR = 2
COMMIT_TIME = "TENSORVCS_COMMIT_TIME"
USER_VARIABLES = {"user.name": "TENSORVCS_USER_NAME", "user.email": "TENSORVCS_USER_EMAIL"}


class Caller:
    """The person or script behind a command.

    Parameters
    ----------
    directory : str, optional
        Where the repository is; the current folder when omitted.
    at_operation : int, optional
        Show the repository as it was right after this operation.
    """

    def __init__(self, directory: str | None = None, at_operation: int | None = None) -> None:
        self.directory = Path(directory or ".")
        self.at_operation = at_operation
        self._environment = os.environ
        # As git does: leave short output on the screen, and keep its colours.
        self._environment.setdefault("LESS", "FRX")

    @property
    def wants_colour(self) -> bool:
        """Whether the environment allows colours on a terminal."""
        return not self._environment.get("NO_COLOR") and self._environment.get("TERM") != "dumb"

    @contextmanager
    def repository(self) -> Iterator[tensorvcs.Repository]:
        """Open the repository for one command; it records in the name of the caller."""
        self._check_directory()
        with tensorvcs.open(self.directory) as repo:
            repo.record_as(self._user_of(repo), self.now)
            if self.at_operation is None:
                yield repo
                return
            with repo.at_operation(self.at_operation) as past:
                yield past

    def recover(
        self, *, dry_run: bool, progress: Callable[[int, int | None], None]
    ) -> tensorvcs.RecoveryReport:
        """Recover the repository of one command, which need not open."""
        self._check_directory()
        user = self._user({})
        return tensorvcs.recover(self.directory, dry_run=dry_run, user=user, progress=progress)

    def _check_directory(self) -> None:
        if not self.directory.exists():
            raise with_hint(
                RepositoryNotFoundError(f"there is no folder {str(self.directory)!r}"),
                "check the PATH behind -C",
            )

    def now(self) -> dt.datetime:
        """Return the time that commits get, from `TENSORVCS_COMMIT_TIME` or the clock."""
        text = self._environment.get(COMMIT_TIME)
        if not text:
            return dt.datetime.now().astimezone()
        try:
            moment = dt.datetime.fromisoformat(text)
        except ValueError as error:
            raise with_hint(
                InvalidInputError(f"the environment variable {COMMIT_TIME} is {text!r}, no time"),
                "write it like 2026-01-31T12:00:00+01:00",
            ) from error
        return moment if moment.tzinfo is not None else moment.astimezone()

    def _user_of(self, repo: tensorvcs.Repository) -> tensorvcs.Identity | None:
        try:
            settings = repo.config
        except CorruptionError:
            # What needs no settings goes on; whoever asks for the user reads them and is told.
            return None
        return self._user(settings)

    def _user(self, settings: dict[str, str]) -> tensorvcs.Identity | None:
        """Return who commits: the environment comes before the repository, before the user."""
        found: dict[str, str] = {**self.user_settings(), **settings}
        for setting, variable in USER_VARIABLES.items():
            if self._environment.get(variable):
                found[setting] = self._environment[variable]
        name, email = found.get("user.name"), found.get("user.email")
        return tensorvcs.Identity(name, email) if name and email else None

    def run_program(
        self, words: Sequence[str], variables: Mapping[str, str], *, captures: bool
    ) -> tuple[int, str]:
        """Run another program in the current folder, and wait for it.

        Parameters
        ----------
        variables : mapping of str to str
            Added to its environment.
        captures : bool
            Whether to return what it prints; otherwise that goes to standard error, as its errors
            do.

        Returns
        -------
        code : int
            Its exit code; negative for a signal.
        text : str
        """
        try:
            done = subprocess.run(
                list(words),
                env={**self._environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if captures else _STANDARD_ERROR,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise with_hint(
                InvalidInputError(f"cannot run {words[0]!r}: {error.strerror or error}"),
                "name a program in PATH or the path of one",
            ) from error
        return done.returncode, done.stdout or ""

    # The user's own settings

    @property
    def user_settings_file(self) -> Path:
        """Where the settings for all repositories of a user are."""
        home = self._environment.get("XDG_CONFIG_HOME")
        folder = Path(home) if home else Path("~/.config").expanduser()
        return folder / "tensorvcs" / "config.json"

    def user_settings(self) -> dict[str, str]:
        """Return the settings for all repositories of the user, by dotted name."""
        file = self.user_settings_file
        try:
            fields = json.loads(file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"the settings {file} cannot be read: {error}") from error
        if not isinstance(fields, dict):
            raise InvalidInputError(f"the settings {file} hold no JSON object")
        return {str(name): str(value) for name, value in fields.items()}

    def set_user_setting(self, name: str, value: str | None) -> None:
        """Set one of the user's own settings, or remove it with None."""
        file = self.user_settings_file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write {file}: {error}") from error
        with alone_in(file.parent):
            settings = self.user_settings()
            if value is None:
                settings.pop(name, None)
            else:
                settings[name] = value
            text = json.dumps(dict(sorted(settings.items())), indent=2, ensure_ascii=False)
            with new_file(file) as write:
                write(f"{text}\n".encode())
