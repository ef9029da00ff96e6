"""Remotes: other repositories under short names, and what is known of their branches."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tensorvcs.errors import InvalidInputError, RefNameError
from tensorvcs.history.refs import REMOTE_BRANCHES, check_ref_name
from tensorvcs.sync.filters import Filter
from tensorvcs.sync.service_options import is_secret, kept_options

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_REMOTE = "origin"
BUCKET_SCHEMES = ("s3", "gs", "az")
"""Of the URLs of buckets."""

_SECTION = "remote."
_OPTION = "option."


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote as the settings have it.

    Attributes
    ----------
    name : str
    url : str
        A path, or a URL such as ``https://host/data``.
    filter : Filter
        What is fetched from it.
    is_promisor : bool
        Whether it supplies what is not here when it is read: that of a partial clone does.
    options : mapping of str to str
        Of the service behind a bucket and the line to it, such as ``endpoint`` and ``region``.
    """

    name: str
    url: str
    filter: Filter = field(default_factory=Filter)
    is_promisor: bool = False
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_bucket(self) -> bool:
        """Whether it is in an object store."""
        return self.url.startswith(tuple(f"{scheme}://" for scheme in BUCKET_SCHEMES))

    @property
    def shown_url(self) -> str:
        """The URL without the token that it may have: what messages and logs say."""
        return shown_url(self.url)

    def to_settings(self) -> dict[str, str]:
        """Return the options that stand for it."""
        start = f"{_SECTION}{self.name}."
        options = {start + "url": self.url}
        if not self.filter.is_everything:
            options[start + "filter"] = self.filter.to_text()
        if self.is_promisor:
            options[start + "promisor"] = "true"
        options.update({f"{start}{_OPTION}{key}": text for key, text in self.options.items()})
        return options


def read_remotes(settings: Mapping[str, str]) -> dict[str, Remote]:
    """Return the remotes among the options of a repository, by name."""
    urls = {
        key[len(_SECTION) : -len(".url")]: url
        for key, url in sorted(settings.items())
        if key.startswith(_SECTION) and key.endswith(".url") and f".{_OPTION}" not in key
    }
    remotes = {}
    for name, url in urls.items():
        start = f"{_SECTION}{name}."
        text = settings.get(start + "filter")
        remotes[name] = Remote(
            name,
            url,
            Filter() if text is None else Filter.from_text(text),
            settings.get(start + "promisor") == "true",
            _service_options(settings, start + _OPTION),
        )
    return remotes


def _service_options(settings: Mapping[str, str], start: str) -> dict[str, str]:
    return {
        key.removeprefix(start): text for key, text in settings.items() if key.startswith(start)
    }


def remote_settings(settings: Mapping[str, str], name: str) -> list[str]:
    """Return the names of all options of a remote."""
    return [key for key in settings if key.startswith(f"{_SECTION}{name}.")]


def shown_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the options of a repository without tokens and other secrets: what is shown."""
    remotes = {key: key.removeprefix(_SECTION) for key in settings if key.startswith(_SECTION)}
    shown = dict(settings)
    for key, rest in remotes.items():
        _, is_option, name = rest.partition(f".{_OPTION}")
        if not is_option:
            shown[key] = shown_url(settings[key])
        elif is_secret(name, settings[key]):
            shown[key] = "(not shown)"
    return shown


def kept_value(name: str, value: str) -> str:
    """Return the value of an option of a repository as it is kept.

    Raises
    ------
    InvalidInputError
        It is a secret of the service behind a bucket.
    """
    _, is_option, option = name.partition(f".{_OPTION}")
    if not (name.startswith(_SECTION) and is_option):
        return value
    return kept_options({option: value})[option]


def check_remote_name(name: object) -> str:
    """Return `name` when it may name a remote, else raise RefNameError."""
    checked = check_ref_name(name, "remote")
    if "/" in checked:
        raise RefNameError(f"remote name {checked!r} has a slash in it")
    return checked


def check_url(url: object) -> str:
    """Return `url` when it may be the place of a remote, else raise InvalidInputError."""
    if not isinstance(url, str) or not url.strip() or not url.isprintable():
        raise InvalidInputError(f"the URL of a remote is {url!r}; expected a path or a URL")
    return url


def shown_url(url: str) -> str:
    """Return a URL without the token, or any other name and password, that it has."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@", r"\1", url)


def remote_branch(remote: str, branch: str) -> str:
    """Return the ref that keeps where a branch of a remote was last seen."""
    return f"{REMOTE_BRANCHES}{remote}/{branch}"
