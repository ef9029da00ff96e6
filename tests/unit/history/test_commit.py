"""Commits as they are recorded: signed, unsigned, and with pairs of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import tensorvcs as tv
from tensorvcs.errors import InvalidInputError, NothingToCommitError
from tensorvcs.history.commit import load_commit, new_commit
from tensorvcs.objects.commit import EMPTY_SNAPSHOT, Identity
from tensorvcs.signing.ssh_signature import SshSignature
from tests.memory_repository import ADA, MemoryRepository
from tests.unit.history.test_signatures import PlainSigner
from tests.unit.signing.test_signer import Canned

if TYPE_CHECKING:
    from pathlib import Path


def add_label(co: Any) -> None:
    if "labels" not in co:
        co.add_ndarray_column("labels", (), "int64")
    co["labels", len(co["labels"])] = 1


class FailingSigner:
    """A signer whose key has gone."""

    def sign(self, payload: bytes) -> str:
        raise ConnectionError("the agent has gone")


def test_a_commit_is_signed_over_its_payload() -> None:
    repo = MemoryRepository()
    with repo.edit() as co:
        add_label(co)
        commit = co.commit("m", sign=PlainSigner())
    assert commit.signature == PlainSigner().sign(commit.object.payload)
    assert commit.signing_key == SshSignature.decode(commit.signature).fingerprint
    assert load_commit(repo.stores.objects, commit.digest) == commit
    assert b"signature" not in commit.object.payload


def test_an_unsigned_commit_says_nothing_of_signatures() -> None:
    repo = MemoryRepository()
    commit = repo.commit(add_label)
    assert commit.signature is None
    assert commit.object.payload == commit.object.encode()


def test_what_a_signer_returns_is_checked_before_anything_is_stored() -> None:
    repo = MemoryRepository()
    before = dict(repo.objects.objects)
    with pytest.raises(InvalidInputError, match="no signature"):
        new_commit(
            repo.stores.objects,
            EMPTY_SNAPSHOT.digest,
            (),
            author=ADA,
            now=repo.now(),
            message="m",
            signer=Canned("x"),
        )
    assert repo.objects.objects == before


def test_a_signer_that_fails_costs_no_change() -> None:
    repo = MemoryRepository()
    with repo.edit() as co:
        add_label(co)
        for signer, error in ((FailingSigner(), ConnectionError), (Canned(""), InvalidInputError)):
            with pytest.raises(error):
                co.commit("m", sign=signer)
            assert co["labels", 0] == 1
        with pytest.raises(InvalidInputError, match="expected a Signer"):
            co.commit("m", sign="~/.ssh/id_ed25519")  # type: ignore[arg-type]
        assert repo.head() is None
        assert co.commit("m").signature is None
        with pytest.raises(NothingToCommitError):
            co.commit("m", sign=PlainSigner())


def test_the_committer_is_who_records_and_signs() -> None:
    repo = MemoryRepository()
    with repo.edit() as co:
        add_label(co)
        commit = co.commit("m", "Bob <bob@example.org>", sign=PlainSigner())
    assert commit.author == Identity("Bob", "bob@example.org")
    assert commit.committer == ADA


@pytest.mark.parametrize("name", ["", " a", "a ", "a=b", "a\nb", "a\x1b[2J", "a" * 101])
def test_names_of_metadata_that_cannot_be_typed_are_refused(name: str) -> None:
    repo = MemoryRepository()
    with repo.edit() as co:
        add_label(co)
        with pytest.raises(InvalidInputError, match="the metadata name"):
            co.commit("m", metadata={name: "x"})
        assert co.commit("m", metadata={"data source": "a=b\nc", "script": ""}).metadata == {
            "data source": "a=b\nc",
            "script": "",
        }


def test_a_merge_and_a_transaction_carry_metadata_and_a_signature(tmp_path: Path) -> None:
    signer = PlainSigner()
    with tv.init(tmp_path, "Ada", "ada@example.org") as repo:
        with repo.transaction(message="m", metadata={"source": "uni-3"}, sign=signer) as tx:
            tx.add_str_column("texts")
            tx["texts", "a"] = "x"
        first = repo.resolve("HEAD")
        assert first.metadata == {"source": "uni-3"}
        assert first.signature == signer.sign(first.object.payload)
        repo.create_branch("dev")
        for branch in ("main", "dev"):
            with repo.transaction(branch, branch) as tx:
                tx["texts", branch] = "y"
        with pytest.raises(InvalidInputError, match="the metadata name"):
            repo.merge("dev", metadata={"": "x"})
        merged = repo.merge("dev", metadata={"script": "merge.py@v1"}).commit
        assert merged.metadata == {"script": "merge.py@v1"}
        with pytest.raises(InvalidInputError, match="expected a Signer"):
            repo.transaction(sign="key")  # type: ignore[arg-type]


def test_a_merge_with_kept_conflicts_carries_metadata(tmp_path: Path) -> None:
    with tv.init(tmp_path, "Ada", "ada@example.org") as repo:
        with repo.transaction() as tx:
            tx.add_str_column("texts")
            tx["texts", "a"] = "x"
        repo.create_branch("dev")
        for branch in ("main", "dev"):
            with repo.transaction(branch, branch) as tx:
                tx["texts", "a"] = branch
        repo.merge("dev", metadata={"source": "uni-3"}, keep_conflicts=True)
        merge = repo.merge_in_progress
        assert merge is not None
        merge.resolve_all("theirs")
        assert merge.finish().metadata == {"source": "uni-3"}
