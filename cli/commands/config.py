"""``tvcs config``."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from tensorvcs.errors import InvalidInputError, NotFoundError, RepositoryNotFoundError, with_hint

from ..arguments import prints
from ..context import USER_VARIABLES, Caller
from ..signing import ALLOWED_SIGNERS, KEY
from ..text import printable

if TYPE_CHECKING:
    from ..output import Output

KNOWN_SETTINGS = [*USER_VARIABLES, KEY, ALLOWED_SIGNERS]


@click.command("config")
@click.argument("name", required=False)
@click.argument("value", required=False)
@click.option(
    "--global", "is_global", is_flag=True, help="Your own settings, for all repositories."
)
@click.option("--unset", is_flag=True, help="Remove the setting NAME.")
@prints
def command(
    caller: Caller,
    out: Output,
    name: str | None,
    value: str | None,
    is_global: bool,
    unset: bool,
) -> None:
    """Show or change settings, such as who commits.

    Without NAME all settings are listed, with NAME alone its value is shown; tokens and other
    secrets of remotes are never shown. The settings of a
    repository come before your own, and the environment variables TENSORVCS_USER_NAME and
    TENSORVCS_USER_EMAIL before both.

    \b
    Settings:
      user.name                who commits
      user.email               and their mail address
      signing.key              the SSH key that 'tvcs commit --sign' signs with
      signing.allowed-signers  whose signatures 'tvcs verify-commit' calls good

    \b
    Examples:
      tvcs config --global user.name "Ada Lovelace"
      tvcs config --global user.email ada@example.org
      tvcs config user.name
      tvcs config --unset user.name
    """
    if unset and (name is None or value is not None):
        raise click.UsageError("--unset takes a NAME and no VALUE")
    if name is not None and (unset or value is not None):
        _change(caller, out, name, value, is_global=is_global)
        return
    if name is not None:
        _check_setting(name, None)
    settings = caller.user_settings() if is_global else _effective(caller)
    if name is None:
        lines = (f"{n}={printable(v)}" for n, v in sorted(settings.items()))
        out.show(dict(sorted(settings.items())), lines)
        return
    if name not in settings:
        raise with_hint(
            NotFoundError(f"the setting {name!r} is not set"), f"tvcs config {name} VALUE"
        )
    out.show({name: settings[name]}, [printable(settings[name])])


def _effective(caller: Caller) -> dict[str, str]:
    """Return the settings that hold here; outside of a repository, the user's own."""
    try:
        with caller.repository() as repo:
            return {**caller.user_settings(), **repo.shown_config}
    except RepositoryNotFoundError:
        if not caller.directory.exists():
            raise
        return caller.user_settings()


def _change(caller: Caller, out: Output, name: str, value: str | None, *, is_global: bool) -> None:
    if is_global:
        _check_setting(name, value)
        is_there = name in caller.user_settings()
        caller.set_user_setting(name, value)
    else:
        try:
            with caller.repository() as repo:
                is_there = name in repo.config
                repo.set_config(name, value)
        except RepositoryNotFoundError as error:
            if caller.directory.exists():
                error.hint = f"for your own settings: tvcs config --global {name} …"
            raise
    if value is None and not is_there:
        out.note(f"Note: {name!r} was not set.")
    near = get_close_matches(name, KNOWN_SETTINGS, n=1)
    if value is not None and near and near[0] != name:
        out.note(f"Note: {name!r} is set, but nothing reads it; did you mean {near[0]!r}?")
    if out.is_json:
        out.document({name: value})


def _check_setting(name: str, value: str | None) -> None:
    if not all(name.partition(".")) or not name.isprintable():
        raise InvalidInputError(f"option name {name!r} is not of the form 'section.name'")
    if name in USER_VARIABLES and value is not None and not value.strip():
        raise InvalidInputError(f"{name} cannot be empty")
