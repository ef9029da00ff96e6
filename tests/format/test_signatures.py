"""Signatures as ssh-keygen makes and checks them: those it made once, and those it makes here.

The private key of the first kind is a fixed seed, so that no key file is kept.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import InvalidInputError
from tensorvcs.history.commit import Commit
from tensorvcs.history.signatures import check_signature
from tensorvcs.objects.commit import CommitObject, Identity, Timestamp
from tensorvcs.objects.digest import CommitDigest, SnapshotDigest, digest_of
from tensorvcs.signing.allowed_signers import AllowedSigners
from tensorvcs.signing.ed25519 import SshSigner, is_signed_by
from tensorvcs.signing.ssh_signature import SshSignature

if TYPE_CHECKING:
    from pathlib import Path

ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed"
)

ADA = Identity("Ada Lovelace", "ada@example.org")
TIME = Timestamp(1_700_000_000_123_456, -210)
COMMIT = CommitObject(
    snapshot=SnapshotDigest(b"s" * 32),
    parents=(CommitDigest(b"p" * 32),),
    generation=3,
    author=ADA,
    author_time=TIME,
    committer=ADA,
    commit_time=TIME,
    message="A line — é",
    metadata={"source": "camera-3"},
)
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
FINGERPRINT = "SHA256:lbmsoA0yIEcEiVDRnMWuzm+nV+3ZEEpVIURqFoeSspg"
ALLOWED = AllowedSigners.parse(f"ada@example.org {PUBLIC_KEY}")

# By `ssh-keygen -Y sign -n tensorvcs` of OpenSSH 9.2 over the bytes of COMMIT, with the key of the
# seed 0 to 31.
GOOD = """\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgA6EHv/POEL4dcN0Y50vAmWfk1j
CbpQ1fHdyGZBJVMbgAAAAJdGVuc29ydmNzAAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1l
ZDI1NTE5AAAAQAzn3Md5P8RTTP/F0SwMymSohHK8dvhUV6iM0GCyCqrlpc7dLARFjzUgyI
9RmuBqYEiGCipENB1kdxNpbwwS7g8=
-----END SSH SIGNATURE-----
"""
# The same with `-O hashalg=sha256`, with `-n git`, and with keys of other types.
SHA256 = """\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgA6EHv/POEL4dcN0Y50vAmWfk1j
CbpQ1fHdyGZBJVMbgAAAAJdGVuc29ydmNzAAAAAAAAAAZzaGEyNTYAAABTAAAAC3NzaC1l
ZDI1NTE5AAAAQNwRY+W3dVeqUZ2r9p246uTBHe8GIH5JSnNXbPb/rdZ5TL8335ijN9bbz7
S2KFOM+W7muNVR57ldoaK1S6UidQs=
-----END SSH SIGNATURE-----
"""
GIT = """\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgA6EHv/POEL4dcN0Y50vAmWfk1j
CbpQ1fHdyGZBJVMbgAAAADZ2l0AAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1lZDI1NTE5
AAAAQLtAeMwJL7ZvNalkYPZpQYahj4A2Bb+58vazFRX9SV5iVkTFOUdhGf2A/uKyDWI3ZY
WXE3y2HRbYpPyn2vq+Ow8=
-----END SSH SIGNATURE-----
"""
ECDSA = """\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAAGgAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAAhuaXN0cDI1NgAAAE
EEzUaKcU3NsfojymFWklmz8h294RSBC22iFQ66twa6OKpJA50b8E8SrmVIpe/c5htNlUoR
c+RUJ+2gm7YaertrhwAAAAl0ZW5zb3J2Y3MAAAAAAAAABnNoYTUxMgAAAGMAAAATZWNkc2
Etc2hhMi1uaXN0cDI1NgAAAEgAAAAgH8k+wqLOgBKqcqIjsGyCIhLOvtDG6idom7pdrZrN
28EAAAAgFyWwzXUqLB+IAMOVkIVQ8wlOQJpw0da3Nn3O0Z+W3v8=
-----END SSH SIGNATURE-----
"""
RSA = """\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAARcAAAAHc3NoLXJzYQAAAAMBAAEAAAEBANNfC7CEdcKntS5iYv40wu
IUIcOzNSTqaZT/bQ03tjo/HpU4gsAVygpWfL9Kj1em1YTvcVb0yW0bu1ufqY8rVonMS3TR
N2G8yXRWaovcw3BFsqOQ0IiXBhz16ffsjtX2xhcTsOGTmnc8ZxM64P5CbhtVIbh3/0C/CW
zeaOssLsog83oKaCSIAIFTeD6s5UDPzyAUXLHaFs3nlC8KxdmAZyAeA64iFqYszCrtkOzd
MYl2wnbmX68yCl25kwzpb+CmjNYyz1tT5F0vPFbjYsCoKPEOjPWFNqsibKhpxm2595r222
GmjlzVvz1lkRLJB2ftdmVp0lRnD1k3k+Mr7K76BQcAAAAJdGVuc29ydmNzAAAAAAAAAAZz
aGE1MTIAAAEUAAAADHJzYS1zaGEyLTUxMgAAAQDBdKooE33ir+21/Rn/2YlaKUlaI1r3hb
14/Sx52+kVxxZM7Ze8Q1+1L4nsfvbBNUiZs5qh0LTve/N6eGg4dL2nTLt4j4dMJ6ze2QZx
/s4MhDiT+RXjcfrFvNuIdfKc45U/mwN/hHfhTTqKd4Iyipxib9xBoxUnw5kFt9+VOMRtly
KXQ9JJjt1WYPuSxxOMpDQt9FmBkP5Rh54cVTDKct1MYEO21PFhZnxnNpPSzPZcYkjLNFL0
X5Qm7A0xOmtgFxXIwQEK2t6n9lET0YUE97VjsRCkO4mxweAmBx2POieNDMqieS4VRDgsPa
9Pm+CHa2RM/mGt2+RKdu3Zj6l48VG1
-----END SSH SIGNATURE-----
"""


def signed(signature: str) -> Commit:
    made = replace(COMMIT, signature=signature)
    return Commit(CommitDigest(digest_of(made.encode())), made)


def seeded_signer() -> SshSigner:
    return SshSigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def test_our_signature_is_letter_for_letter_that_of_ssh_keygen() -> None:
    signer = seeded_signer()
    assert (signer.public_key, signer.fingerprint) == (PUBLIC_KEY, FINGERPRINT)
    assert signer.sign(COMMIT.payload) == GOOD


def test_the_id_of_a_signed_commit_stays() -> None:
    assert signed(GOOD).id == "28dcb591f3a8a810607d4d0e3c33c5453d852289d29e358517452f26c580b7dc"


@pytest.mark.parametrize("text", [GOOD, SHA256, GIT, ECDSA, RSA])
def test_what_ssh_keygen_wrote_comes_back(text: str) -> None:
    assert SshSignature.decode(text).encode() == text


@pytest.mark.parametrize("text", [GOOD, SHA256])
def test_what_ssh_keygen_signed_is_good(text: str) -> None:
    check = check_signature(signed(text), ALLOWED, is_signed_by)
    assert check.is_good
    assert (check.principal, check.fingerprint) == ("ada@example.org", FINGERPRINT)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GIT, "the signature is for 'git', not for 'tensorvcs'"),
        (ECDSA, "a key of type 'ecdsa-sha2-nistp256'; only those of 'ssh-ed25519' are checked"),
        (RSA, "a key of type 'ssh-rsa'; only those of 'ssh-ed25519' are checked"),
    ],
)
def test_what_ssh_keygen_signed_otherwise_is_bad(text: str, reason: str) -> None:
    check = check_signature(signed(text), ALLOWED, is_signed_by)
    assert (check.status, check.reason) == ("bad", reason)


# With the ssh-keygen of this machine.


def ssh_keygen(*arguments: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["ssh-keygen", *arguments], input=content, capture_output=True, check=False, timeout=60
    )


def new_key(folder: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    path = folder / kind
    made = ssh_keygen("-q", "-t", kind, "-N", passphrase, "-C", "a comment", "-f", str(path))
    assert made.returncode == 0, made
    return path


@needs_ssh_keygen
def test_ssh_keygen_finds_our_signature_good(tmp_path: Path) -> None:
    signer = SshSigner.open(new_key(tmp_path))
    (tmp_path / "allowed").write_text(f'*@example.org namespaces="tensorvcs" {signer.public_key}\n')
    (tmp_path / "signature").write_text(signer.sign(COMMIT.payload))
    verify = (
        *("-Y", "verify", "-n", "tensorvcs", "-I", "ada@example.org"),
        *("-f", str(tmp_path / "allowed"), "-s", str(tmp_path / "signature")),
    )
    assert ssh_keygen(*verify, content=COMMIT.payload).returncode == 0
    assert ssh_keygen(*verify, content=COMMIT.payload + b" ").returncode != 0
    commit = signed((tmp_path / "signature").read_text())
    allowed = AllowedSigners.read(tmp_path / "allowed")
    assert check_signature(commit, allowed, is_signed_by).is_good


@needs_ssh_keygen
def test_a_signature_by_ssh_keygen_is_ours_letter_for_letter(tmp_path: Path) -> None:
    key = new_key(tmp_path)
    made = ssh_keygen("-q", "-Y", "sign", "-n", "tensorvcs", "-f", str(key), content=COMMIT.payload)
    assert made.stdout.decode() == SshSigner.open(key).sign(COMMIT.payload)


@needs_ssh_keygen
def test_an_encrypted_key_of_ssh_keygen(tmp_path: Path) -> None:
    pytest.importorskip("bcrypt")
    key = new_key(tmp_path, passphrase="correct horse")
    signer = SshSigner.open(key, lambda: "correct horse")
    assert signer.public_key in key.with_suffix(".pub").read_text()
    with pytest.raises(InvalidInputError, match="the passphrase is wrong"):
        SshSigner.open(key, lambda: "wrong horse")


@needs_ssh_keygen
@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
@pytest.mark.parametrize("passphrase", ["", "correct horse"])
def test_keys_of_other_types_are_named(tmp_path: Path, kind: str, passphrase: str) -> None:
    key = new_key(tmp_path, kind, passphrase)
    with pytest.raises(InvalidInputError, match=rf"is of type '{kind}|is of type 'ssh-{kind}"):
        SshSigner.open(key)


@needs_ssh_keygen
@pytest.mark.parametrize(
    "options",
    [
        "{mail} {key}",
        "{mail}  \t{key} a comment",
        "*@example.org,!ada@* {key}",
        "!ada@*,* {key}",
        "a?a@exam*,bob {key}",
        "ADA@example.org {key}",
        '"{mail},b c" {key}',
        '{mail} namespaces="file,tensor*" {key}',
        '{mail} namespaces="git" {key}',
        '{mail} NAMESPACES="*,!tensorvcs" {key}',
        '{mail} valid-after="20231114Z",valid-before="20231115Z" {key}',
        '{mail} valid-after="20231114221320Z" {key}',
        '{mail} valid-after="20231114221321Z" {key}',
        '{mail} valid-before="20231114221320Z" {key}',
        '{mail} valid-before="20231114221319Z" {key}',
        '{mail} valid-before="202311142214Z" {key}',
        '{mail} valid-before="20231113",namespaces="tensorvcs" {key}',
        '{mail} valid-after="20231113" {key}',
        "[a]da@example.org {key}",
        "# {mail} {key}",
        "",
    ],
)
def test_allowed_signers_mean_what_they_mean_to_ssh_keygen(tmp_path: Path, options: str) -> None:
    key = new_key(tmp_path)
    signer = SshSigner.open(key)
    line = options.format(mail="ada@example.org", key=signer.public_key)
    other = "bob@example.org " + PUBLIC_KEY
    (tmp_path / "allowed").write_text(f"# who may sign\n\n{other}\n{line}\n")
    (tmp_path / "signature").write_text(signer.sign(COMMIT.payload))
    theirs = ssh_keygen(
        *("-Y", "verify", "-n", "tensorvcs", "-I", "ada@example.org"),
        *("-O", "verify-time=20231114221320Z"),
        *("-f", str(tmp_path / "allowed"), "-s", str(tmp_path / "signature")),
        content=COMMIT.payload,
    )
    allowed = AllowedSigners.read(tmp_path / "allowed")
    ours = check_signature(signed(signer.sign(COMMIT.payload)), allowed, is_signed_by)
    assert ours.status == ("good" if theirs.returncode == 0 else "unknown"), theirs
