"""Remotes as options of a repository."""

from __future__ import annotations

import pytest

from tensorvcs.errors import InvalidInputError, RefNameError
from tensorvcs.sync.filters import Filter
from tensorvcs.sync.remotes import (
    Remote,
    check_remote_name,
    check_url,
    kept_value,
    read_remotes,
    remote_settings,
    shown_settings,
)


def test_a_remote_is_kept_as_options() -> None:
    whole = Remote("origin", "/data/pets")
    part = Remote("far.away", "https://host/pets", Filter(max_bytes=5), is_promisor=True)
    settings = {"user.name": "Ada", **whole.to_settings(), **part.to_settings()}
    assert settings["remote.origin.url"] == "/data/pets"
    assert read_remotes(settings) == {"origin": whole, "far.away": part}
    assert remote_settings(settings, "origin") == ["remote.origin.url"]
    assert len(remote_settings(settings, "far.away")) == 3


def test_secrets_are_neither_kept_nor_shown() -> None:
    bucket = Remote("b", "s3://pets/a", options={"region": "x", "token": "file:/t"})
    server = Remote("s", "https://s3cr3t@host/pets")
    assert (bucket.is_bucket, server.is_bucket) == (True, False)
    settings = {"user.name": "a://b@c", **bucket.to_settings(), **server.to_settings()}
    assert shown_settings(settings) == {**settings, "remote.s.url": "https://host/pets"}
    # One that came into the settings in another way.
    settings["remote.b.option.secret_access_key"] = "s3cr3t"
    settings["remote.b.option.proxy_url"] = "http://ada:s3cr3t@proxy"
    assert "s3cr3t" not in str(shown_settings(settings))
    assert kept_value("remote.b.option.region", "y") == "y"
    assert kept_value("user.token", "y") == "y"
    assert kept_value("remote.b.option.token", "file:/x/../t") == "file:/t"
    with pytest.raises(InvalidInputError, match="'token' is a secret"):
        kept_value("remote.b.option.token", "y")


@pytest.mark.parametrize("name", ["", "a/b", "-x", "a b", 3])
def test_names_that_are_not_legal(name: object) -> None:
    with pytest.raises(RefNameError, match="remote name"):
        check_remote_name(name)


def test_urls_that_are_none() -> None:
    assert check_url("../pets") == "../pets"
    for url in ("", " ", "a\nb", None):
        with pytest.raises(InvalidInputError, match="the URL of a remote"):
            check_url(url)
