"""The server over HTTP, and clients that do not mean well."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import tensorvcs as tv
from tensorvcs.connections import open_connection
from tensorvcs.errors import (
    AccessDeniedError,
    InvalidInputError,
    RemoteError,
    RepositoryNotFoundError,
    StorageError,
)
from tensorvcs.history.refs import BRANCHES
from tensorvcs.server import listening
from tensorvcs.server.listening import Place
from tensorvcs.server.serving import Rules
from tensorvcs.server.tokens import TokenFile
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.sync import wire
from tensorvcs.sync.http_stores import CONTENT_TYPE
from tests.served import port_of, served
from tests.unit.sync.services import reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

YESTERDAY = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)


class Server:
    """A server with a repository, and tokens of every kind."""

    def __init__(self, url: str, log: list[dict[str, Any]], secrets: dict[str, str]) -> None:
        self.url = url
        self.log = log
        self.secrets = secrets
        self.port = port_of(url)

    def url_of(self, name: str, repository: str = "pets") -> str:
        return self.url.replace("://", f"://{self.secrets[name]}@") + f"/{repository}"

    def post(
        self,
        path: str,
        body: bytes = b"",
        token: str | None = "writer",
        **headers: str,
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Content-Type": CONTENT_TYPE, **headers}
        if token is not None:
            sent["Authorization"] = f"Bearer {self.secrets.get(token, token)}"
        connection.request("POST", path, body, sent)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def send(self, content: bytes, *, is_cut: bool = False) -> bytes:
        """Send bytes as they are, perhaps end there, and return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as line:
            line.sendall(content)
            if is_cut:
                line.shutdown(socket.SHUT_WR)
            found = b""
            while part := line.recv(1 << 16):
                found += part
        return found

    def record(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the newest record of the log that fits, once there is one."""
        return wait_for(self.log, fits)

    def is_well(self) -> bool:
        with_connection = open_connection(self.url_of("reader"))
        found = with_connection.stores.refs.get("HEAD") == b"ref refs/heads/main"
        with_connection.close()
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    with tv.init(folder / "root" / "pets", "Ada", "ada@example.org") as repo, repo.edit() as co:
        co.add_ndarray_column("images", (8, 8), "uint8").extend(np.zeros((9, 8, 8), np.uint8))
        co.commit("First")
    tv.init(folder / "root" / "secret").close()
    file = TokenFile(folder / "tokens.json")
    secrets = {
        "reader": file.add("reader", [("pets", "read")]),
        "writer": file.add("writer", [("pets", "write")]),
        "expired": file.add("expired", [("*", "admin")], YESTERDAY),
    }
    rules = Rules(folder / "tokens.json", max_request_nbytes=8 << 20, timeout_seconds=20)
    with served(folder / "root", rules) as (url, log):
        yield Server(url, log, secrets)


def wait_for(log: list[dict[str, Any]], fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the newest record that fits; a request is logged when it has been answered."""
    turn = threading.Event()
    for _ in range(3000):
        found = [record for record in list(log) if fits(record)]
        if found:
            return found[-1]
        turn.wait(0.01)
    raise AssertionError(log)


def error_of(content: bytes) -> BaseException:
    with pytest.raises(tv.errors.TensorVCSError) as caught:
        list(wire.read_frames(reader(content)))
    return caught.value


def body(*contents: bytes) -> bytes:
    return b"".join(wire.stream(contents))


# Those who may


def test_the_server_tells_that_it_is_there(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/health")
    answer = connection.getresponse()
    assert json.loads(answer.read()) == {"status": "ok", "protocol": 1}
    assert answer.getheader("server") is None
    connection.close()


def test_one_line_is_kept_for_many_questions(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Content-Type": CONTENT_TYPE, "Authorization": f"Bearer {server.secrets['reader']}"}
    for _ in range(3):
        connection.request("POST", "/pets/-/refs", body(b""), headers)
        answer = connection.getresponse()
        frames = list(wire.read_frames(reader(answer.read())))
        assert set(wire.decode_refs(frames[0])) == {"HEAD", BRANCHES + "main"}
        sock = connection.sock
        assert sock is not None
    connection.close()


def test_each_request_is_a_line_in_the_log_and_no_token_is(server: Server) -> None:
    server.post("/pets/-/refs", body(b""), "reader")
    record = server.record(lambda r: (r.get("user"), r.get("method")) == ("reader", "refs"))
    assert record["message"] == "request"
    assert {k: record[k] for k in ("repository", "method", "user", "status", "client")} == {
        "repository": "pets", "method": "refs", "user": "reader", "status": 200,
        "client": "127.0.0.1",
    }  # fmt: skip
    assert record["received_nbytes"] == len(body(b""))
    assert record["sent_nbytes"] > 50
    assert "problem" not in record
    server.post("/pets/-/swap", body(b"{}"), "reader")
    server.record(lambda r: "may read here, and not write" in r.get("problem", ""))
    server.post("/pets/-/refs", body(b"x"), "no such token")
    text = json.dumps(server.log)
    for secret in (*server.secrets.values(), "no such token"):
        assert secret not in text


# Those who may not


@pytest.mark.parametrize(
    ("token", "status", "text"),
    [
        (None, 401, "a token is needed"),
        ("nonsense", 401, "not known, or has expired"),
        ("", 401, "a token is needed"),
        ("expired", 401, "not known, or has expired"),
    ],
)
def test_those_who_are_not_known(server: Server, token: str | None, status: int, text: str) -> None:
    found, content = server.post("/pets/-/hello", body(), token)
    assert found == status
    assert text in str(error_of(content))


def test_other_ways_to_say_who_one_is(server: Server) -> None:
    secret = server.secrets["reader"]
    for authorization in (
        f"Basic {secret}",
        secret,
        f"Bearer{secret}",
        "Bearer",
        f"Token {secret}",
    ):
        status, _ = server.post("/pets/-/hello", body(), None, Authorization=authorization)
        assert status == 401
    status, _ = server.post("/pets/-/hello", body(), None, Authorization=f"bearer {secret}")
    assert status == 200


def test_a_token_is_good_where_it_says(server: Server) -> None:
    for path in ("/secret/-/hello", "/nowhere/-/hello", "/pets/../secret/-/hello"):
        status, content = server.post(path, body(), "reader")
        assert status == 403
        assert "is for other repositories" in str(error_of(content))
    for method in ("swap", "objects/put", "values/take"):
        status, content = server.post(f"/pets/-/{method}", body(b"x"), "reader")
        assert status == 403
        assert "may read here, and not write" in str(error_of(content))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/pets/-/", 404), ("/pets/-/nothing", 404), ("/pets/-/hello/", 404),
        ("/pets/-/_swap", 404),
        ("/pets", 404), ("/", 404), ("/pets/-", 404), ("//-/hello", 403), ("/-/hello", 404),
        ("/pets%2f..%2fsecret/-/hello", 403), ("/..%2f..%2fetc/-/hello", 403),
        ("/pets%00/-/hello", 403), ("/pets/-/%2e%2e/hello", 404), ("/PETS/-/hello", 403),
    ],
)  # fmt: skip
def test_paths_that_lead_nowhere(server: Server, path: str, status: int) -> None:
    found, content = server.post(path, body(), "writer")
    assert found == status
    assert b"root" not in content
    assert server.is_well()


def test_a_page_of_another_site_cannot_ask(server: Server) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        status, _ = server.post("/pets/-/hello", body(), "writer", **{"Content-Type": kind})
        assert status == 415
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/pets/-/hello")
    assert connection.getresponse().status == 405
    connection.close()


# Requests that are none


@pytest.mark.parametrize(
    "content",
    [
        b"", b"x", b"d" + bytes(7), struct.pack("<cQ", b"d", 5), struct.pack("<cQ", b"d", 2**63),
        struct.pack("<cQ", b"d", 3) + b"abc", struct.pack("<cQ", b"q", 0),
        body(b"x" * 31), body(b"\0" * 32)[:-1], struct.pack("<cQ", b"e", 2) + b"{}",
        body(b"[" * 100_000), body(b'{"changes": 7}'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["objects/get", "objects/put", "values/take", "swap"])
def test_bodies_that_are_no_request(server: Server, method: str, content: bytes) -> None:
    status, answer = server.post(f"/pets/-/{method}", content)
    assert status == 200
    if answer != body():
        kinds = (RemoteError, tv.errors.CorruptionError, tv.errors.ObjectNotFoundError)
        assert isinstance(error_of(answer), kinds)


def test_they_left_everything_as_it_was(server: Server) -> None:
    assert server.is_well()
    assert "tensorvcs" in " ".join({record["logger"] for record in server.log})
    assert not [record for record in server.log if "traceback" in record]


def head_of(server: Server, method: str, nbytes: int | str) -> bytes:
    return (
        f"POST /pets/-/{method} HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Authorization: Bearer {server.secrets['writer']}\r\nContent-Length: {nbytes}\r\n\r\n"
    ).encode()


def test_requests_that_end_early(server: Server) -> None:
    whole = head_of(server, "objects/put", 100) + struct.pack("<cQ", b"d", 60) + bytes(60)
    for cut in (3, 40, len(whole) - 61, len(whole) - 30, len(whole)):
        server.send(whole[:cut], is_cut=True)
    assert server.is_well()
    server.record(lambda record: "hung up" in record.get("problem", ""))


def test_requests_that_are_too_large(server: Server) -> None:
    for nbytes in ((8 << 20) + 1, 2**70):
        answer = server.send(head_of(server, "values/take", nbytes))
        assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))
    pieces = (
        b"".join(
            b"%x\r\n" % len(part) + part + b"\r\n" for part in [struct.pack("<cQ", b"d", 1 << 29)]
        )
        + b"100000\r\n"
        + bytes(1 << 20)
        + b"\r\n"
    )
    head = head_of(server, "values/take", 0).replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        line.sendall(head + pieces)
        chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        try:
            for _ in range(20):
                line.sendall(chunk)
        except OSError:
            return  # it refused before all had come
        assert line.recv(20).startswith(b"HTTP/1.1 413")
    assert server.is_well()


def test_lengths_that_are_no_number(server: Server) -> None:
    for text in ("-1", "x", "1e3", "²"):
        answer = server.send(head_of(server, "hello", text))
        assert answer.startswith(b"HTTP/1.1 4")
    assert server.is_well()


def test_values_that_lie_and_values_that_explode(server: Server) -> None:
    fields = {
        "kind": "bytes",
        "dtype": "",
        "shape": None,
        "compressor": "lz4",
        "count": 2,
        "ndim": 0,
    }
    frame = struct.pack("<BBBBIII", 2, 1, 0, 1, 2**32 - 1, 2**31, 16)
    text = json.dumps(fields).encode()
    content = (
        struct.pack("<I", len(text)) + text + bytes(64) + struct.pack("<2q", 16, 16) + frame * 2
    )
    status, answer = server.post("/pets/-/values/take", body(content))
    assert status == 200
    assert f"decode to {2 * (2**32 - 1)} bytes" in str(error_of(answer))
    fields["compressor"] = None
    text = json.dumps(fields).encode()
    content = (
        struct.pack("<I", len(text)) + text + bytes(64) + struct.pack("<2q", 16, 16) + frame * 2
    )
    status, answer = server.post("/pets/-/values/take", body(content))
    assert "arrived as another value" in str(error_of(answer))


def test_a_broken_push_moves_nothing(server: Server) -> None:
    connection = open_connection(server.url_of("writer"))
    before = connection.stores.refs.items()
    value = b"commit " + b"12" * 32
    with pytest.raises(tv.errors.ObjectNotFoundError, match="12" * 32):
        connection.stores.refs.swap([RefChange(BRANCHES + "x", None, value)])
    assert connection.stores.refs.items() == before
    connection.close()


# How much at a time


def test_those_who_are_too_many_are_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensorvcs.server.app._MAX_WAITING", 0)
    tv.init(tmp_path / "pets").close()
    rules = Rules(lets_anybody=True, max_concurrent=1, timeout_seconds=30)
    with served(tmp_path, rules) as (url, log):
        port = port_of(url)
        head = (
            f"POST /pets/-/objects/put HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\n"
            "Content-Length: 9\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
            slow.sendall(head)
            status = 200
            while status == 200:  # until the slow one runs
                status = post(port, "/pets/-/hello")
            assert status == 503
            slow.sendall(body())
            assert slow.recv(100).startswith(b"HTTP/1.1 200")
        # Others wait for their turn.
        monkeypatch.setattr("tensorvcs.server.app._MAX_WAITING", 64)
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: hello(f"{url}/pets"), range(8)))
        assert all(results)
    assert {record["status"] for record in log} == {200, 503}


def post(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", path, body(), {"Content-Type": CONTENT_TYPE})
    status = connection.getresponse().status
    connection.close()
    return status


def hello(url: str) -> bool:
    connection = open_connection(url)
    connection.close()
    return True


def test_those_who_send_nothing_are_not_waited_for(tmp_path: Path) -> None:
    tv.init(tmp_path / "pets").close()
    rules = Rules(lets_anybody=True, timeout_seconds=0.2)
    with served(tmp_path, rules) as (url, log):
        head = (
            f"POST /pets/-/objects/put HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\n"
            "Content-Length: 9\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", port_of(url)), timeout=30) as slow:
            slow.sendall(head)
            said = b""
            while b"did not come within 0.2 s" not in said:
                part = slow.recv(1 << 16)
                assert part, said
                said += part
        assert hello(f"{url}/pets")
    assert "did not come" in log[0]["problem"]


def test_those_who_take_nothing_are_not_waited_for(tmp_path: Path) -> None:
    with tv.init(tmp_path / "pets", "Ada", "ada@example.org") as repo, repo.edit() as co:
        rows = np.random.default_rng(0).integers(0, 255, (300, 64, 1024), np.uint8)
        column = co.add_ndarray_column("rows", (64, 1024), "uint8")
        column.extend(rows)
        co.commit("First")
    rules = Rules(lets_anybody=True, timeout_seconds=0.2)
    from tensorvcs.objects.schema import Schema
    from tensorvcs.objects.tensor import digest_rows

    digests = digest_rows(Schema("ndarray", "uint8", (64, 1024)), rows)
    question = body(digests.tobytes())
    with served(tmp_path, rules) as (url, log):
        head = (
            f"POST /pets/-/values/stored HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(question)}\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", port_of(url)), timeout=30) as idle:
            idle.sendall(head + question)
            idle.recv(1)
            record = wait_for(log, lambda r: r.get("method") == "values/stored")
        assert "nothing was taken for 0.2 s" in record["problem"]
        with socket.create_connection(("127.0.0.1", port_of(url)), timeout=30) as gone:
            gone.sendall(head + question)
            gone.recv(1)
        wait_for(log, lambda r: r is not record and r.get("problem", "") != "")
        assert {r["message"] for r in log} == {"request"}
        assert hello(f"{url}/pets")


# Who is let in without tokens


def test_without_tokens_everybody_here_may_read(tmp_path: Path) -> None:
    tv.init(tmp_path / "pets").close()
    change = RefChange(BRANCHES + "x", None, b"commit " + b"1" * 64)
    for rules, may_write in (
        (Rules(), False),
        (Rules(is_read_only=True, lets_anybody=True), False),
        (Rules(lets_anybody=True), True),
    ):
        with served(tmp_path, rules) as (url, _):
            connection = open_connection(f"{url}/pets")
            assert connection.stores.refs.get("HEAD")
            kind = tv.errors.ObjectNotFoundError if may_write else AccessDeniedError
            with pytest.raises(kind):
                connection.stores.refs.swap([change])
            connection.close()


def test_read_only_counts_for_every_token(tmp_path: Path) -> None:
    tv.init(tmp_path / "root" / "pets").close()
    secret = TokenFile(tmp_path / "t.json").add("ada", [("*", "admin")])
    with served(tmp_path / "root", Rules(tmp_path / "t.json", is_read_only=True)) as (url, _):
        connection = open_connection(url.replace("://", f"://{secret}@") + "/pets")
        with pytest.raises(AccessDeniedError, match="may read here, and not write"):
            connection.stores.objects.put([b"x"])
        connection.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "data.example.org"])
def test_no_network_is_let_in_by_accident(tmp_path: Path, host: str) -> None:
    with (
        pytest.raises(InvalidInputError, match=f"this machine alone, and not at {host}") as caught,
        served(tmp_path, Rules(), Place(host, 0)),
    ):
        pass
    assert "--token-file" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.example.org", False)],
)  # fmt: skip
def test_addresses_of_this_machine(host: str, is_loopback: bool) -> None:
    assert Place(host).is_loopback is is_loopback


def test_tokens_that_break_while_the_server_runs(tmp_path: Path) -> None:
    tv.init(tmp_path / "root" / "pets").close()
    file = tmp_path / "t.json"
    secret = TokenFile(file).add("ada", [("*", "admin")])
    with served(tmp_path / "root", Rules(file)) as (url, log):
        place = url.replace("://", f"://{secret}@") + "/pets"
        hello(place)
        good = file.read_bytes()
        file.write_text("{")
        assert post(port_of(url), "/pets/-/hello") == 401
        connection = http.client.HTTPConnection("127.0.0.1", port_of(url), timeout=30)
        headers = {"Content-Type": CONTENT_TYPE, "Authorization": f"Bearer {secret}"}
        connection.request("POST", "/pets/-/hello", body(), headers)
        answer = connection.getresponse()
        assert answer.status == 503
        assert b"t.json" not in answer.read()
        connection.close()
        file.write_bytes(good)
        hello(place)
        TokenFile(file).revoke("ada")
        with pytest.raises(AccessDeniedError, match="not known, or has expired"):
            hello(place)
    assert any("t.json" in record.get("traceback", "") for record in log)


def test_places_that_cannot_be_listened_at(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(StorageError, match=f"cannot listen at 127.0.0.1:{port}"),
            served(tmp_path, place=Place(port=port)),
        ):
            pass
    (tmp_path / "cert").write_text("none")
    place = Place(port=0, certificate=str(tmp_path / "cert"), key=str(tmp_path / "cert"))
    with pytest.raises(InvalidInputError, match="certificate"), served(tmp_path, place=place):
        pass
    with (
        pytest.raises(InvalidInputError, match="not everybody"),
        served(tmp_path, Rules(tmp_path / "t.json", lets_anybody=True)),
    ):
        pass
    with pytest.raises(RepositoryNotFoundError), served(tmp_path / "nowhere"):
        pass


def test_a_small_answer_does_not_wait_for_its_head(tmp_path: Path) -> None:
    """Where a line gathers small packets, an answer takes 40 ms longer."""
    with listening._bound(Place(port=0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), listener.accept()[0] as line:
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_server_that_ends_finishes_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensorvcs.server.app._MAX_WAITING", 0)
    tv.init(tmp_path / "pets").close()
    head = (
        f"POST /pets/-/objects/put HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\n"
        "Content-Length: 9\r\n\r\n"
    ).encode()
    answers: list[bytes] = []
    with served(tmp_path, Rules(lets_anybody=True, max_concurrent=1)) as (url, _):
        line = socket.create_connection(("127.0.0.1", port_of(url)), timeout=30)
        line.sendall(head)
        while post(port_of(url), "/pets/-/hello") == 200:
            pass

        def finish() -> None:
            answers.append(line.recv(1))

        thread = threading.Thread(target=finish)
        ending = threading.Timer(0.3, lambda: line.sendall(body()))
        thread.start()
        ending.start()
    thread.join()
    ending.join()
    line.close()
    assert answers == [b"H"]
