"""The client over HTTP, and servers that do not mean well, or break."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import shutil
import socket
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partialmethod
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import tensorvcs as tv
from tensorvcs.connections import open_connection
from tensorvcs.errors import (
    AccessDeniedError,
    ConnectionLostError,
    DigestMismatchError,
    InvalidInputError,
    NonFastForwardError,
    RefChangedError,
    RemoteError,
    RepositoryNotFoundError,
    StorageError,
    TensorVCSError,
    UnsupportedFormatError,
)
from tensorvcs.history.refs import BRANCHES
from tensorvcs.objects.digest import digest_of
from tensorvcs.server.listening import Place
from tensorvcs.server.serving import Rules
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.storage.memory import MemoryTensors
from tensorvcs.sync import remote_stores as stores_module
from tensorvcs.sync import wire
from tensorvcs.sync.http_stores import CONTENT_TYPE, Address, HttpLine
from tensorvcs.sync.remote_stores import RemoteObjects, RemoteRefs, RemoteTensors, remote_stores
from tensorvcs.sync.remotes import shown_url
from tests.served import Proxy, port_of, served, settled
from tests.tensor_values import IMAGES, put, random_images
from tests.unit.sync.services import DirectLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SECRET = "s3cr3t-t0ken"


# Addresses


@pytest.mark.parametrize(
    ("url", "shown", "token"),
    [
        ("http://host/pets", "http://host/pets", None),
        ("https://host:443/a/b/", "https://host/a/b", None),
        (f"https://{SECRET}@host:8000/pets", "https://host:8000/pets", SECRET),
        (f"https://ada:{SECRET}@host/pets", "https://host/pets", SECRET),
        (f"http://:{SECRET}@[::1]:80/p", "http://[::1]/p", SECRET),
        ("http://a%40b@host/my pets", "http://host/my%20pets", "a@b"),
    ],
)
def test_an_address_is_read_from_a_url(url: str, shown: str, token: str | None) -> None:
    address = Address.of(url)
    assert str(address) == shown
    assert address.token == token
    assert SECRET not in repr(address)
    assert Address.of(url, "other").token == "other"


@pytest.mark.parametrize(
    "url",
    [
        "http://", "http:///pets", f"http://{SECRET}@", f"http://{SECRET}@host:x/p",
        f"http://{SECRET}@host:99999/p", f"http://{SECRET}@host/p?x=1", f"http://{SECRET}@host/p#x",
        f"http://{SECRET}@hö/p", f"http://{SECRET}%0d%0aX: y@host/p", f"http://{SECRET}@[::1/p",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused_without_a_word_of_the_token(url: str) -> None:
    with pytest.raises(InvalidInputError, match="is no URL of a repository") as caught:
        open_connection(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://{SECRET}@host/a@b", "https://host/a@b"),
        (f"https://u:{SECRET}@x@host/p", "https://host/p"),
        ("/home/a@b/c", "/home/a@b/c"),
        ("a@b:c", "a@b:c"),
        ("https://host", "https://host"),
    ],
)
def test_a_url_is_shown_without_its_token(url: str, shown: str) -> None:
    assert shown_url(url) == shown


# Servers that break


class BadServer:
    """Answers each request by a function from its number, head and body to bytes.

    An answer of None closes the line.
    """

    def __init__(self, answer: Callable[[int, bytes, bytes], bytes | None]) -> None:
        self._answer = answer
        self.count = 0

    def __enter__(self) -> BadServer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            with line, line.makefile("rb") as source, contextlib.suppress(OSError):
                self._answer_all(line, source)

    def _answer_all(self, line: socket.socket, source: Any) -> None:
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                part = source.readline()
                if not part:
                    return
                head += part
            nbytes = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.count += 1
            answer = self._answer(self.count, head, source.read(nbytes))
            if answer is None:
                return
            line.sendall(answer)
            if b"connection: close" in answer.lower():
                return

    def line(self, pauses: Sequence[float] = (), timeout_seconds: float = 20) -> HttpLine:
        address = Address.of(f"http://{SECRET}@127.0.0.1:{self.port}/pets")
        return HttpLine(address, pauses=pauses, timeout_seconds=timeout_seconds)


def http_answer(
    content: bytes, status: str = "200 OK", kind: str = CONTENT_TYPE, more: str = ""
) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{more}\r\n"
    ).encode() + content


def frames(*contents: bytes) -> bytes:
    return b"".join(wire.stream(contents))


def asked(
    answer: bytes | None, method: str = "objects/missing", **options: Any
) -> list[wire.Frame]:
    with BadServer(lambda *_: answer) as server:
        line = server.line(**options)
        try:
            return list(line.ask(method, [b""]))
        finally:
            line.close()


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (None, ConnectionLostError, "hung up before its answer"),
        (b"", ConnectionLostError, "did not answer within 0.3 s"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", ConnectionLostError, "did not answer within"),
        (b"nonsense\r\n\r\n", RemoteError, "does not speak HTTP"),
        (b"\0" * 70_000, RemoteError, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", RemoteError, "does not speak HTTP"),
        (http_answer(b"a page", "200 OK", "text/html"), RemoteError, "is no server of repo"),
        (http_answer(b"x", "500 Oops"), RemoteError, "answers 500 Oops"),
        (http_answer(b"x", "502 Bad"), ConnectionLostError, "too busy, or away: 502"),
        (http_answer(b"x", "503 Busy"), ConnectionLostError, "too busy, or away: 503"),
        (http_answer(b"x", "401 No"), AccessDeniedError, "it wants a token, or another one"),
        (http_answer(b"x", "403 No"), AccessDeniedError, "it wants a token, or another one"),
        (http_answer(b"x", "404 No"), RepositoryNotFoundError, "there is no repository at http"),
        (http_answer(b"x", "413 No"), RemoteError, "takes no request of this size"),
        (http_answer(frames()[:-1]), ConnectionLostError, "the line was cut"),
        (http_answer(frames(b"abc")[:12]), ConnectionLostError, "the line was cut"),
        (http_answer(frames() + b"x"), RemoteError, "more than its answer"),
        (http_answer(struct.pack("<cQ", b"d", 2**60)), RemoteError, "is announced"),
        (
            http_answer(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
            + b"zz\r\n",
            ConnectionLostError,
            "hung up",
        ),
    ],
)
def test_answers_that_are_none(answer: bytes | None, kind: type, text: str) -> None:
    with pytest.raises(TensorVCSError, match=text) as caught:
        asked(answer, timeout_seconds=0.3)
    assert type(caught.value) is kind
    assert SECRET not in str(caught.value)


def test_what_a_server_says_of_its_refusal_is_passed_on() -> None:
    said = wire.frame(wire.encode_error(AccessDeniedError("the moon is full")), wire.ERROR)
    with pytest.raises(AccessDeniedError, match="refuses: the moon is full"):
        asked(http_answer(said, "403 No"))
    with pytest.raises(RemoteError, match=r"answers 418 I am a teapot$"):
        asked(http_answer(b"\xff" * 100, "418 I am a teapot"))
    with pytest.raises(RemoteError, match=r"answers 418 I am a teapot$"):
        asked(http_answer(frames(b"no error"), "418 I am a teapot"))


@pytest.mark.parametrize("status", ["301 M", "302 M", "307 M", "308 M"])
def test_a_redirect_is_named_and_not_followed(status: str) -> None:
    place = f"Location: https://{SECRET}@evil.example.org/pets\r\n"
    with pytest.raises(RemoteError, match=r"has moved to https://evil\.example\.org/pets") as e:
        asked(http_answer(b"", status, more=place))
    assert SECRET not in str(e.value)
    with pytest.raises(RemoteError, match="another place"):
        asked(http_answer(b"", status))


def test_nobody_and_no_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(RemoteError, match=f"nobody answers at http://127.0.0.1:{port}/p") as caught:
        open_connection(f"http://127.0.0.1:{port}/p")
    assert "tvcs serve" in (caught.value.hint or "")
    with pytest.raises(RemoteError, match="no machine has the name"):
        open_connection("http://no-such-machine.invalid/p")


def test_a_line_that_is_reset_while_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent then, and there is nothing to read an answer from."""
    monkeypatch.setattr(socket, "create_connection", mock.Mock(side_effect=ConnectionResetError))
    line = HttpLine(Address.of("http://127.0.0.1:1/pets"), pauses=())
    with pytest.raises(ConnectionLostError, match=r"the line to http://127\.0\.0\.1:1/pets broke"):
        remote_stores(line)


# Tries


def test_a_question_whose_answer_was_lost_is_asked_again() -> None:
    digests = [bytes([n]) * 32 for n in range(3)]

    def answer(count: int, head: bytes, body: bytes) -> bytes | None:
        if count == 1:
            return None
        if count == 2:
            return http_answer(frames(digests[0])[:20], more="Connection: close\r\n")
        if count == 3:
            return http_answer(b"", "503 Busy", more="Connection: close\r\n")
        return http_answer(frames(digests[0]))

    with BadServer(answer) as server:
        line = server.line(pauses=(0, 0, 0))
        assert RemoteObjects(line).missing(digests) == [digests[0]]
        assert server.count == 4
        line.close()
    with BadServer(lambda *_: None) as server:
        line = server.line(pauses=(0, 0))
        with pytest.raises(ConnectionLostError):
            RemoteObjects(line).get(digests)
        assert server.count == 3
        line.close()


def test_a_swap_is_asked_once() -> None:
    with BadServer(lambda *_: None) as server:
        line = server.line(pauses=(0, 0, 0))
        with pytest.raises(ConnectionLostError, match="hung up"):
            RemoteRefs(line).swap([RefChange(BRANCHES + "x", None, b"commit " + b"1" * 64)])
        assert server.count == 1
        line.close()


def test_a_swap_opens_a_line_of_its_own() -> None:
    with BadServer(lambda *_: http_answer(frames())) as server:
        line = server.line()
        RemoteObjects(line).missing([bytes(32)])
        RemoteObjects(line).missing([bytes(32)])
        assert len(line._idle) == 1
        line.close()
        RemoteRefs(line).swap([RefChange(BRANCHES + "x", None, b"commit " + b"1" * 64)])
        line.close()
        # As one that ended unnoticed.
        line._idle.append(line._connect())
        RemoteRefs(line).swap([RefChange(BRANCHES + "x", None, b"commit " + b"1" * 64)])
        assert len(line._idle) == 2
        line.close()


def test_no_question_is_asked_for_nothing() -> None:
    line = DirectLine()
    remote = remote_stores(line)
    nothing = np.zeros((0, 32), np.uint8)
    assert remote.objects.get([]) == remote.objects.put([]) == remote.objects.missing([]) == []
    assert not len(remote.tensors.contains(nothing))
    assert not len(remote.tensors.sizes(nothing))
    assert list(remote.tensors.stored(nothing)) == []
    remote.tensors.seal()
    assert line.asked == ["hello"]


# Servers that lie


class LyingLine:
    """A line that gives prepared answers."""

    pauses: Sequence[float] = ()
    reads_ahead = True

    def __init__(self, *answers: list[bytes]) -> None:
        self._answers = iter(answers)

    def ask(
        self, method: str, contents: Sequence[wire.Content], *, is_repeatable: bool = True
    ) -> Iterator[wire.Frame]:
        yield from next(self._answers)

    def close(self) -> None:
        pass


A, B = b"snapshot a", b"snapshot b"
NAMES = [digest_of(A), digest_of(B)]


def objects(*contents: bytes) -> list[bytes]:
    return list(wire.encode_objects(contents))


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (objects(A, A), DigestMismatchError, f"object {NAMES[1].hex()} arrived as another one"),
        (objects(B, A), DigestMismatchError, f"object {NAMES[0].hex()}"),
        (objects(A), RemoteError, "1 of the 2 objects asked for arrived"),
        (objects(A, B, A), RemoteError, "more than the 2 objects"),
        ([], RemoteError, "0 of the 2 objects"),
        ([b"\xff\xff\xff\xff"], RemoteError, "an object of 4294967295 bytes"),
    ],
)
def test_objects_that_are_others(answer: list[bytes], kind: type[RemoteError], text: str) -> None:
    with pytest.raises(kind, match=text):
        RemoteObjects(LyingLine(answer)).get(NAMES)


def test_answers_of_another_size() -> None:
    digests = np.zeros((3, 32), np.uint8)
    with pytest.raises(RemoteError, match="2 bytes answer values/contains; expected 3"):
        RemoteTensors(LyingLine([b"\1\1"])).contains(digests)
    with pytest.raises(RemoteError, match="expected 24"):
        RemoteTensors(LyingLine([bytes(23)])).sizes(digests)
    with pytest.raises(RemoteError, match="less than no bytes"):
        RemoteTensors(LyingLine([struct.pack("<3q", 1, -1, 1)])).sizes(digests)
    for answer in ([bytes(5000)], [b""] * 5000):
        with pytest.raises(RemoteError, match="longer than any that fits"):
            RemoteTensors(LyingLine(answer)).contains(digests)
    with pytest.raises(RemoteError, match="not asked about"):
        RemoteObjects(LyingLine([b"\2" * 32])).missing([b"\1" * 32])
    with pytest.raises(RemoteError, match="longer than any that fits"):
        RemoteObjects(LyingLine([b"x"])).put([A])
    assert RemoteObjects(LyingLine([NAMES[0] + NAMES[1]])).find(NAMES[1].hex()[:9]) == [NAMES[1]]


def test_an_answer_without_end_is_left() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"[]"

    class Endless(LyingLine):
        def ask(self, method: str, contents: Any, *, is_repeatable: bool = True) -> Any:
            return endless()

    with pytest.raises(RemoteError, match="longer than any that fits"):
        RemoteRefs(Endless()).items()


def test_refs_that_were_not_asked_for_are_dropped() -> None:
    refs = wire.encode_refs([("refs/heads/a", b"x"), ("staging", b"y"), ("refs/tags/b", b"z")])
    assert RemoteRefs(LyingLine([refs])).items("refs/heads/") == {"refs/heads/a": b"x"}


def test_values_that_are_others() -> None:
    near = MemoryTensors()
    digests = put(near, IMAGES, random_images(3))
    first, second, third = near.stored(digests)
    lie = replace(second, digests=first.digests)

    def answer(*parts: Any) -> list[bytes]:
        return [wire.encode_values(part) for part in parts]

    for given, text in (
        (answer(first, third), "and was not asked for"),
        (answer(first, first), "and was not asked for"),
        (answer(first), "1 of the values asked for did not arrive"),
    ):
        with pytest.raises(RemoteError, match=text):
            list(RemoteTensors(LyingLine(given)).stored(digests[:2]))
    far, taken = RemoteTensors(LyingLine(answer(lie))), MemoryTensors()
    with pytest.raises(DigestMismatchError, match="arrived as another value"):
        for part in far.stored(digests[:1]):
            taken.take(part)


def test_a_frame_that_says_it_decodes_to_much_more() -> None:
    frame = struct.pack("<BBBBIII", 2, 1, 0, 1, 2**32 - 1, 2**31, 16)
    near = MemoryTensors()
    digests = put(near, IMAGES, random_images(1))
    (part,) = near.stored(digests)
    bomb = replace(
        part, compressor="lz4", data=np.frombuffer(frame, np.uint8), sizes=np.array([16])
    )
    far = RemoteTensors(LyingLine([wire.encode_values(bomb)]))
    with pytest.raises(RemoteError, match=f"decode to {2**32 - 1} bytes"):
        list(far.stored(digests))
    small = replace(
        bomb, data=np.frombuffer(frame.replace(b"\xff\xff\xff\xff", b"\0\0\1\0"), np.uint8)
    )
    taken, far = MemoryTensors(), RemoteTensors(LyingLine([wire.encode_values(small)]))
    with pytest.raises(DigestMismatchError):
        for found in far.stored(digests):
            taken.take(found)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([], RemoteError),
        ([b"", b""], RemoteError),
        ([b"{"], RemoteError),
        ([b'{"protocol": "1"}'], RemoteError),
        ([wire.Greeting(2, 1, 1).encode()], UnsupportedFormatError),
    ],
)
def test_a_greeting_that_is_none(answer: list[bytes], kind: type[RemoteError]) -> None:
    with pytest.raises(kind):
        remote_stores(LyingLine(answer))


# What is sent


def test_values_are_sent_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    line = DirectLine()
    monkeypatch.setattr(stores_module, "SEND_NBYTES", 3000)
    remote, near = remote_stores(line), MemoryTensors()
    digests = put(near, IMAGES, random_images(10))
    for number, part in enumerate(near.stored(digests), 1):
        remote.tensors.take(part)
        assert remote.tensors.unsealed_nbytes == 768 * number
    assert line.asked == ["hello"] + ["values/take"] * 3
    remote.tensors.seal()
    assert line.asked == ["hello"] + ["values/take"] * 4
    assert remote.tensors.unsealed_nbytes == 0
    assert remote.tensors.contains(digests).all()


def test_a_value_that_is_too_large_for_the_other_end_is_not_sent() -> None:
    line = DirectLine()
    line.service.limits = replace(line.service.limits, max_frame_nbytes=500)
    remote, near = remote_stores(line), MemoryTensors()
    (part,) = near.stored(put(near, IMAGES, random_images(1)))
    with pytest.raises(RemoteError, match=r"about 768 bytes is too large .* takes 500 at once"):
        remote.tensors.take(part)
    assert remote.tensors.unsealed_nbytes == 0


def test_values_are_asked_for_again_where_the_line_was_cut() -> None:
    near = MemoryTensors()
    digests = put(near, IMAGES, random_images(5))
    asked: list[int] = []

    class Cut(DirectLine):
        pauses = (0.0,)

        def ask(self, method: str, contents: Any, *, is_repeatable: bool = True) -> Any:
            asked.append(len(contents[0]) // 32)
            answer = list(super().ask(method, contents, is_repeatable=is_repeatable))
            yield from answer[:2]
            if len(answer) > 2:
                raise ConnectionLostError("cut")

    line = Cut()
    line.service.stores.tensors.values.update(near.values)  # type: ignore[attr-defined]
    found = list(RemoteTensors(line).stored(digests))
    assert len(found) == 5
    assert asked == [5, 3, 1]


def test_an_answer_is_read_ahead_and_not_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores_module, "_AHEAD_NBYTES", 10)
    given: list[int] = []
    is_closed = threading.Event()

    def answer() -> Iterator[bytes]:
        try:
            for number in range(40):
                given.append(number)
                yield bytes([number]) * 4
        finally:
            is_closed.set()

    taken = []
    for frame in stores_module._read_ahead(answer()):
        taken.append(frame[0])
        # What is held, one more that waits for room, and the one that is looked at.
        assert len(given) <= len(taken) + 4
    assert taken == list(range(40))
    is_closed.clear()
    given.clear()
    frames = stores_module._read_ahead(answer())
    assert next(frames) == bytes(4)
    frames.close()  # type: ignore[attr-defined]
    assert is_closed.is_set()
    assert len(given) <= 5


# Real lines


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder with a small repository in it."""
    root = tmp_path / "root"
    rows = np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)
    with tv.init(root / "pets", "Ada", "ada@example.org") as repo, repo.edit() as co:
        co.add_ndarray_column("images", (8, 8), "uint8").extend(rows)
        co.add_str_column("names").update({i: f"name {i}" for i in range(40)})
        co.commit("First")
    return root


def test_threads_share_a_line(pets: Path) -> None:
    with served(pets) as (url, _):
        line = HttpLine(Address.of(f"{url}/pets"))
        remote = remote_stores(line)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: remote.refs.items(), range(40)))
        assert all(refs == found[0] for refs in found)
        assert 1 <= len(line._idle) <= 4
        line.close()
        assert not line._idle
        assert remote.refs.items() == found[0]
        line.close()


def test_a_forked_child_uses_a_line_of_its_own(pets: Path) -> None:
    with served(pets) as (url, _):
        line = HttpLine(Address.of(f"{url}/pets"))
        remote = remote_stores(line)
        expected = remote.refs.items()
        (before,) = line._idle
        child = os.fork()
        if child == 0:  # pragma: no cover (in the child)
            line.close()
            is_right = remote.refs.items() == expected and line._idle[0] is not before
            os._exit(0 if is_right else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert remote.refs.items() == expected
        assert list(line._idle) == [before]
        line.close()


def test_a_line_that_ended_while_it_was_idle_is_opened_again(pets: Path) -> None:
    with served(pets) as (url, _), Proxy(port_of(url), None) as proxy:
        line = HttpLine(Address.of(f"http://127.0.0.1:{proxy.port}/pets"))
        remote = remote_stores(line)
        for found in list(proxy._lines):
            with contextlib.suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)
        assert remote.refs.items()
        line.close()


def test_a_partial_clone_fetches_over_http_and_its_checkout_travels(
    pets: Path, tmp_path: Path
) -> None:
    with served(pets, Rules()) as (url, _):
        repo = tv.clone(f"{url}/pets", tmp_path / "copy", max_bytes=0)
        checkout = pickle.loads(pickle.dumps(repo.checkout("HEAD")))
        assert checkout["names"][7] == "name 7"
        with tv.open(pets / "pets") as source:
            assert np.array_equal(checkout["images"][0:40], source.checkout()["images"][0:40])
        checkout.close()
        repo.close()


def certificate(folder: Path) -> tuple[str, str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    names = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-out", names[0], "-keyout", names[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return names


def test_lines_are_encrypted_and_certificates_checked(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate(tmp_path)
    place = Place("127.0.0.1", 0, cert, key)
    with served(pets, place=place) as (url, _):
        assert url.startswith("https://127.0.0.1:")
        with pytest.raises(RemoteError, match=r"the certificate of .* is not trusted") as caught:
            open_connection(f"{url}/pets")
        assert "SSL_CERT_FILE" in (caught.value.hint or "")
        line = HttpLine(Address.of(f"{url}/pets"), ca_file=cert)
        assert remote_stores(line).refs.get("HEAD")
        line.close()
        monkeypatch.setenv("SSL_CERT_FILE", cert)
        with tv.clone(f"{url}/pets", tmp_path / "copy") as repo:
            assert repo.checkout()["names"][3] == "name 3"
        plain = url.replace("https", "http")
        with no_waiting(), pytest.raises(RemoteError):
            open_connection(f"{plain}/pets")
    with served(pets) as (url, _):
        secure = url.replace("http", "https")
        with pytest.raises(RemoteError, match="no encrypted line"):
            open_connection(f"{secure}/pets")


# Cuts, resets, silence


KILOBYTE = 1024


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Ask again at once, in clients that begin inside this block."""
    with mock.patch.object(HttpLine, "__init__", partialmethod(HttpLine.__init__, pauses=(0, 0))):
        yield


@pytest.mark.parametrize("resets", [False, True], ids=["cut", "reset"])
def test_a_clone_that_is_cut_at_any_kilobyte_goes_on(
    pets: Path, tmp_path: Path, *, resets: bool
) -> None:
    """Cut the answers at every kilobyte; what is there is sound, and the next clone ends."""
    with settled() as settle, served(pets) as (url, _), no_waiting():
        port = port_of(url)
        with Proxy(port, None) as proxy:
            tv.clone(f"http://127.0.0.1:{proxy.port}/pets", tmp_path / "whole").close()
        assert proxy.passed > 8 * KILOBYTE
        begun = 0
        for limit in range(200, proxy.passed, KILOBYTE):
            place = tmp_path / f"cut-{limit}"
            with Proxy(port, limit, resets=resets) as cut, pytest.raises(RemoteError):
                tv.clone(f"http://127.0.0.1:{cut.port}/pets", place)
            settle()
            if (place / ".tensorvcs").is_dir():
                begun += 1
                finish_clone(place, f"{url}/pets")
        assert begun > 3
        with tv.open(pets / "pets") as theirs:
            assert theirs.verify().is_sound


def finish_clone(place: Path, url: str) -> None:
    with tv.open(place) as repo:
        assert repo.verify().is_sound
        repo.remove_remote("origin")
        repo.add_remote("origin", url)
        repo.fetch()
        assert repo.verify().is_sound
        assert repo.checkout("origin/main")["names"][5] == "name 5"


@pytest.mark.parametrize(
    ("counts", "resets"),
    [("requests", False), ("answers", False), ("requests", True), ("answers", True)],
    ids=["requests-cut", "answers-cut", "requests-reset", "answers-reset"],
)
def test_a_push_that_is_cut_at_any_kilobyte_goes_on(
    pets: Path, tmp_path: Path, counts: str, *, resets: bool
) -> None:
    """Cut a push at every kilobyte it sends, or at many places of the answers."""
    rows = np.random.default_rng(1).integers(0, 255, (6, 8, 8), np.uint8)
    copy = tmp_path / "mine"
    with (
        settled() as settle,
        served(pets) as (url, _),
        no_waiting(),
        tv.clone(f"{url}/pets", copy, user_name="Bob", user_email="bob@example.org") as mine,
    ):
        port, limit, number, is_cut = port_of(url), 100, 0, True
        while is_cut:
            number += 1
            with mine.transaction("main", f"Change {number}") as tx:
                tx["images"].update({n: row ^ number for n, row in enumerate(rows)})
            with Proxy(port, limit, counts, resets=resets) as proxy:
                to(mine, f"http://127.0.0.1:{proxy.port}/pets")
                try:
                    mine.push()
                except RemoteError:
                    pass
                else:
                    is_cut = False
            settle()
            with tv.open(pets / "pets") as theirs:
                assert theirs.verify().is_sound
                assert theirs.branches["main"] in (mine.resolve("main~1"), mine.resolve("main"))
            to(mine, f"{url}/pets")
            mine.push()
            with tv.open(pets / "pets") as theirs:
                assert theirs.branches["main"] == mine.branches["main"]
            limit += KILOBYTE if counts == "requests" else 150
        assert number > 4
        assert mine.verify().is_sound


def to(repo: tv.Repository, url: str) -> None:
    """Have the remote of a repository be at a URL."""
    repo.remove_remote("origin")
    repo.add_remote("origin", url)


def test_a_line_of_small_pieces(pets: Path, tmp_path: Path) -> None:
    """A slow line: what belongs together comes apart anywhere."""
    with served(pets) as (url, _), Proxy(port_of(url), None, piece_nbytes=7) as proxy:
        place = f"http://127.0.0.1:{proxy.port}/pets"
        with tv.clone(place, tmp_path / "copy", user_name="B", user_email="b@c.d") as mine:
            assert mine.verify().is_sound
            with mine.transaction("main", "Change") as tx:
                tx["images"][3] = np.full((8, 8), 9, np.uint8)
            mine.push()
            head = mine.branches["main"]
        with tv.open(pets / "pets") as theirs:
            assert theirs.branches["main"] == head
            assert theirs.verify().is_sound


def test_a_line_that_is_silent_is_left_and_another_one_opened(pets: Path) -> None:
    with served(pets) as (url, _), Proxy(port_of(url), None, silent=1) as proxy:
        address = Address.of(f"http://127.0.0.1:{proxy.port}/pets")
        line = HttpLine(address, timeout_seconds=1, pauses=(0, 0, 0, 0, 0, 0))
        assert remote_stores(line).refs.items()
        line.close()
    with served(pets) as (url, _), Proxy(port_of(url), None, silent=3) as proxy:
        address = Address.of(f"http://127.0.0.1:{proxy.port}/pets")
        line = HttpLine(address, timeout_seconds=0.1, pauses=(0, 0))
        with pytest.raises(ConnectionLostError, match=r"did not answer within 0\.1 s"):
            remote_stores(line)
        line.close()


# Full disks


class FullDisk:
    """Lets packs grow by so many bytes in all, and no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        self.is_full = False
        self._write = os.pwrite
        monkeypatch.setattr("tensorvcs.storage.hdf5_pack.os.pwrite", self.write)

    def write(self, descriptor: int, content: Any, offset: int) -> int:
        if self.is_full:
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            content = content[: self.left]
            self.left -= len(content)
        return self._write(descriptor, content, offset)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A folder with a repository of some MB in it, which come as a pack."""
    root = tmp_path / "root"
    rows = np.random.default_rng(0).integers(0, 255, (60, 256, 256), np.uint8)
    with tv.init(root / "pets", "Ada", "ada@example.org") as repo, repo.edit() as co:
        co.add_ndarray_column("images", (256, 256), "uint8").extend(rows)
        co.commit("First")
    return root


def test_a_clone_to_a_disk_that_becomes_full_goes_on_later(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, place = FullDisk(monkeypatch), tmp_path / "copy"
    with served(large) as (url, _):
        disk.is_full, disk.left = True, 1_500_000
        with pytest.raises(StorageError, match="No space left"):
            tv.clone(f"{url}/pets", place)
        with tv.open(place) as repo:
            assert repo.verify().is_sound
            assert not repo.branches
            assert not list(place.rglob("*.h5"))
        disk.is_full = False
        with tv.clone(f"{url}/pets", place) as repo, tv.open(large / "pets") as source:
            assert repo.verify().is_sound
            assert repo.branches == source.branches


def test_a_push_to_a_disk_that_becomes_full_goes_on_later(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    tv.init(large / "empty", bare=True).close()
    with (
        settled() as settle,
        served(large) as (url, log),
        tv.open(large / "pets") as mine,
    ):
        mine.add_remote("origin", f"{url}/empty")
        disk.is_full, disk.left = True, 1_500_000
        with pytest.raises(RemoteError, match="the disk of the server refuses") as caught:
            mine.push()
        settle()
        assert str(large) not in str(caught.value)
        assert any("No space left" in record.get("problem", "") for record in log)
        with tv.open(large / "empty") as theirs:
            assert theirs.verify().is_sound
            assert not theirs.branches
        assert not list((large / "empty").rglob("*.h5"))
        disk.is_full = False
        mine.push()
        with tv.open(large / "empty") as theirs:
            assert theirs.verify().is_sound
            assert theirs.branches == mine.branches


# Two at a time


def test_of_two_who_push_at_a_time_one_wins_and_the_other_pulls(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have sent all they have, and seen the branch where it was, before either moves it."""
    barrier, swap = threading.Barrier(2), RemoteRefs.swap

    def swap_together(refs: RemoteRefs, *args: Any) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(60)
        swap(refs, *args)

    with served(pets) as (url, _), contextlib.ExitStack() as stack:
        people = [
            stack.enter_context(
                tv.clone(f"{url}/pets", tmp_path / name, user_name=name, user_email=f"{name}@b.c")
            )
            for name in ("ada", "bob")
        ]
        for number, repo in enumerate(people):
            with repo.transaction("main", f"Change of {repo.user}") as tx:
                tx["images"][number] = np.full((8, 8), 100 + number, np.uint8)

        def push(repo: tv.Repository) -> TensorVCSError | None:
            try:
                repo.push()
            except (RefChangedError, NonFastForwardError) as error:
                return error
            return None

        monkeypatch.setattr(RemoteRefs, "swap", swap_together)
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(push, people))
        barrier.abort()
        assert sorted(error is None for error in found) == [False, True]
        loser = people[0 if found[0] is not None else 1]
        loser.pull()
        loser.push()
        with tv.open(pets / "pets") as theirs:
            assert theirs.verify().is_sound
            assert theirs.branches["main"] == loser.branches["main"]
            assert [theirs.checkout("main")["images"][n][0, 0] for n in (0, 1)] == [100, 101]
