"""Options of services: secrets are not kept, files that hold them are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import InvalidInputError, StorageError
from tensorvcs.sync.service_options import is_secret, kept_options, used_options

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "name",
    [
        "secret_access_key", "AWS_SECRET_ACCESS_KEY", "session_token", "token", "account_key",
        "client_secret", "sas_key", "sas_token", "bearer_token", "service_account_key",
        "encryption_key", "sse_customer_key_base64", "password",
    ],
)  # fmt: skip
def test_secrets_are_refused_and_not_repeated(name: str) -> None:
    assert is_secret(name, SECRET)
    with pytest.raises(InvalidInputError, match=f"'{name}' is a secret") as caught:
        kept_options({"region": "x", name: SECRET})
    assert f"--option {name}=file:PATH" in str(caught.value.hint)
    assert SECRET not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("access_key_id", "AKIA"),
        ("region", "eu-central-1"),
        ("endpoint", "http://127.0.0.1:9000/@x"),
        ("web_identity_token_file", "/var/run/token"),
        ("sse_kms_key_id", "7"),
        ("service_account", "/home/ada/account.json"),
        ("proxy_url", "http://proxy:3128"),
        ("allow_http", "true"),
    ],
)
def test_what_is_no_secret_is_kept_as_it_is(name: str, value: str) -> None:
    assert kept_options({name: value}) == {name: value}


@pytest.mark.parametrize("name", ["proxy_url", "endpoint"])
def test_a_password_in_a_url_is_a_secret(name: str) -> None:
    with pytest.raises(InvalidInputError, match="is a secret"):
        kept_options({name: "http://ada:pw@proxy:3128"})


def test_a_file_that_holds_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text(f" {SECRET}\n")
    kept = kept_options({"secret_access_key": "file:key", "region": "x"})
    assert kept == {"secret_access_key": f"file:{tmp_path / 'key'}", "region": "x"}
    monkeypatch.chdir("/")
    assert used_options(kept) == {"secret_access_key": SECRET, "region": "x"}


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=f"option 'token' cannot be read from {path}"):
        used_options({"token": f"file:{path}"})
