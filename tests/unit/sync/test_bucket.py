"""A bucket: ranges, conditions, and the errors of services."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import (
    AccessDeniedError,
    InvalidInputError,
    MissingDependencyError,
    RemoteError,
    StorageError,
)
from tensorvcs.sync import bucket as bucket_module
from tensorvcs.sync.bucket import Bucket, Version, open_bucket
from tests.buckets import memory_bucket

if TYPE_CHECKING:
    from pathlib import Path

obstore: Any = pytest.importorskip("obstore")


@pytest.fixture
def bucket() -> Bucket:
    return memory_bucket()


def test_files_of_a_folder(bucket: Bucket) -> None:
    assert bucket.list_files("bundles") == {}
    for name in ("bundles/a", "bundles/b", "bundles2/c", "other"):
        bucket.put(name, name.encode())
    assert bucket.list_files("bundles") == {"a": 9, "b": 9}
    bucket.delete("bundles/a")
    assert bucket.list_files("bundles") == {"b": 9}


@given(
    st.lists(st.tuples(st.integers(0, 999), st.integers(0, 300)), max_size=12),
    st.integers(0, 400),
)
def test_ranges_of_a_file(ranges: list[tuple[int, int]], waste: int) -> None:
    bucket = memory_bucket()
    content = bytes(i * 7 % 256 for i in range(1300))
    bucket.put("file", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_module, "_WASTE_NBYTES", waste)
        patch.setattr(bucket_module, "_MANY_RANGES", 5)
        views = bucket.read("file", ranges)
    assert [bytes(view) for view in views] == [content[s : s + n] for s, n in ranges]


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 2000)), min_size=1, max_size=60),
    st.sampled_from([0, 1000, 10**5]),
)
def test_little_is_read_for_nothing(ranges: list[tuple[int, int]], allowed: int) -> None:
    starts, lengths = [list(column) for column in zip(*ranges, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_module, "_WASTE_NBYTES", allowed)
        gap = bucket_module._joined_gap(starts, lengths)
    read = asked = 0
    end = -(10**9)
    for start, length in sorted(ranges):
        asked += max(0, start + length - max(start, end))
        read += max(0, start + length - (end if start - end <= gap else start))
        end = max(end, start + length)
    assert read - asked <= max(allowed, 0.01 * sum(lengths))


@pytest.mark.parametrize(
    ("ranges", "calls"),
    [
        # One behind the other: in one go while they are small, in four when they are large.
        ([(place * 1000, 1000) for place in range(8)], 1),
        ([(place << 20, 1 << 20) for place in range(12)], 4),
        ([(0, 12 << 20)], 1),
    ],
)
def test_much_is_read_by_several_requests_at_a_time(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, ranges: list[tuple[int, int]], calls: int
) -> None:
    bucket.put("file", bytes(12 << 20))
    real, seen = obstore.get_ranges, []

    def count(*args: Any, **options: Any) -> Any:
        seen.append(options["starts"])
        return real(*args, **options)

    monkeypatch.setattr(obstore, "get_ranges", count)
    assert sum(map(len, bucket.read("file", ranges))) == sum(nbytes for _, nbytes in ranges)
    assert len(seen) == calls


def test_a_file_without_end_is_not_read_to_its_end(bucket: Bucket) -> None:
    bucket.put("file", bytes(1000))
    found = bucket.get("file", 1000)
    assert found is not None
    assert len(found[0]) == 1000
    with pytest.raises(RemoteError, match="memory://pets/file has more than 999 bytes"):
        bucket.get("file", 999)


def test_a_range_that_does_not_arrive_whole(bucket: Bucket) -> None:
    bucket.put("file", b"0123456789")
    with pytest.raises(RemoteError, match="memory://pets/file"):
        bucket.read("file", [(5, 50)])
    with pytest.raises(RemoteError, match="memory://pets/none is not there"):
        bucket.read("none", [(0, 5)])


def test_a_service_that_knows_no_ranges(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("file", "other"):
        bucket.put(name, name.encode() * 10)
    failures = []

    def refuse(*args: Any, **options: Any) -> Any:
        failures.append(args)
        raise obstore.exceptions.GenericError("Received non-partial response when range requested")

    monkeypatch.setattr(obstore, "get_ranges", refuse)
    for path in ("file", "file", "other"):
        views = bucket.read(path, [(3, 4), (0, 0), (0, 2)])
        whole = path.encode() * 10
        assert [bytes(view) for view in views] == [whole[3:7], b"", whole[:2]]
    assert len(failures) == 1
    with pytest.raises(RemoteError, match="10 bytes arrived of 50 from 40 on"):
        bucket.read("other", [(40, 50)])
    with pytest.raises(RemoteError, match="none is not there"):
        bucket.read("none", [(0, 1)])


def test_parts_that_are_short(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstore, "get_ranges", lambda *args, **options: [b"12"])
    with pytest.raises(RemoteError, match="2 bytes arrived of 5 from 7 on"):
        bucket.read("file", [(7, 5)])


# Conditions


def test_a_file_is_created_once(bucket: Bucket) -> None:
    assert bucket.get("refs") is None
    assert bucket.create("refs", b"1") is not None
    assert bucket.create("refs", b"2") is None
    found = bucket.get("refs")
    assert found is not None
    assert found[0] == b"1"
    assert bucket.replace("refs", b"3", found[1]) is not None
    assert bucket.replace("refs", b"4", found[1]) is None
    found = bucket.get("refs")
    assert found is not None
    assert found[0] == b"3"


def test_a_service_that_obeys_passes_and_is_left_clean(bucket: Bucket) -> None:
    bucket.check_conditions()
    bucket.check_conditions()
    assert bucket.list_files("probes") == {}


def test_who_may_not_delete_may_push(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise PermissionError("no")

    with monkeypatch.context() as patch:
        patch.setattr(obstore, "delete", refuse)
        bucket.check_conditions()
    assert len(bucket.list_files("probes")) == 1


class Odd(Bucket):
    """A bucket of a service with ways of its own."""

    def __init__(self, way: str) -> None:
        super().__init__(memory_bucket().store, "s3://odd")
        self.way = way
        self.modes: list[Any] = []

    def _put_if(self, path: str, content: bytes, mode: Any) -> Version | None:
        self.modes.append(mode)
        if self.way == "ignores all" or (self.way == "ignores versions" and mode != "create"):
            return super()._put_if(path, content, "overwrite")
        if self.way == "takes versions without quotes" and mode != "create":
            if '"' in mode["e_tag"]:
                return None
            return super()._put_if(path, content, {"e_tag": f'"{mode["e_tag"]}"'})
        if self.way == "refuses all versions" and mode != "create":
            return None
        if self.way == "tells no versions":
            made = super()._put_if(path, content, mode)
            return None if made is None else Version(None, None)
        if self.way == "has a file of every name":
            return None
        return super()._put_if(path, content, mode)


@pytest.mark.parametrize(
    "way",
    [
        "ignores all",
        "ignores versions",
        "refuses all versions",
        "tells no versions",
        "has a file of every name",
    ],
)
def test_services_that_do_not_keep_two_pushes_apart(way: str) -> None:
    bucket = Odd(way)
    with pytest.raises(RemoteError, match="whether or not conditions hold") as caught:
        bucket.check_conditions()
    assert "tvcs serve" in str(caught.value.hint)
    assert bucket.list_files("probes") == {}


def test_a_service_that_wants_versions_without_quotes() -> None:
    bucket = Odd("takes versions without quotes")
    bucket.check_conditions()
    first = bucket.create("refs", b"1")
    assert first is not None
    bucket.modes.clear()
    second = bucket.replace("refs", b"2", first)
    assert second is not None
    # The spelling that was right before is tried first.
    assert len(bucket.modes) == 1
    assert bucket.replace("refs", b"3", first) is None


def test_numbers_of_versions_go_to_the_service_that_compares_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modes: list[Any] = []

    def put(store: Any, path: str, content: bytes, *, mode: Any, use_multipart: bool) -> Any:
        modes.append(mode)
        return {"e_tag": "b", "version": "8"}

    monkeypatch.setattr(obstore, "put", put)
    for scheme in ("gs", "s3"):
        written = Bucket(None, f"{scheme}://pets").replace("refs", b"", Version("a", "7"))
        assert written == Version("b", "8")
    assert modes == [{"e_tag": "a", "version": "7"}, {"e_tag": "a"}]


def test_a_folder_of_this_machine_cannot_compare(tmp_path: Path) -> None:
    bucket = Bucket(obstore.store.LocalStore(str(tmp_path)), "file://pets")
    bucket.put("file", b"0123")
    assert bytes(bucket.read("file", [(1, 2)])[0]) == b"12"
    with pytest.raises(RemoteError, match="whether or not conditions hold"):
        bucket.check_conditions()


# URLs and errors


@pytest.mark.parametrize("url", ["s3://", "s3:///", "s3://a/../b", "s3://a//b", "gs://./x"])
def test_urls_that_name_no_bucket(url: str) -> None:
    with pytest.raises(InvalidInputError, match="is no URL of a bucket"):
        open_bucket(url, {})


@pytest.mark.parametrize(
    "options", [{"nonsense": "1"}, {"timeout": "soon"}, {"allow_http": "perhaps"}]
)
def test_options_that_are_not_known(options: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match="cannot be reached so") as caught:
        open_bucket("s3://pets/a", options)
    assert "config remote.NAME.option" in str(caught.value.hint)


def test_options_of_service_and_line() -> None:
    options = {
        "region": "eu-central-1",
        "allow_http": "True",
        "timeout": "5s",
        "skip_signature": "true",
    }
    opened = open_bucket("s3://pets/a/b/", options)
    assert opened.name == "s3://pets/a/b"
    assert opened.store.prefix == "a/b"


def test_an_option_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("not-shown\n")
    options = {"region": "x", "access_key_id": "a", "secret_access_key": f"file:{tmp_path}/key"}
    assert open_bucket("s3://pets/a", options).store.config["secret_access_key"] == "not-shown"
    (tmp_path / "key").unlink()
    with pytest.raises(StorageError, match="'secret_access_key' cannot be read"):
        open_bucket("s3://pets/a", options)


def test_a_service_that_does_not_answer() -> None:
    options = {
        "endpoint": "http://127.0.0.1:1",
        "allow_http": "true",
        "skip_signature": "true",
        "region": "x",
        "timeout": "1s",
    }
    with pytest.raises(RemoteError, match="s3://pets/a/refs"):
        open_bucket("s3://pets/a", options).get("refs")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError("no"), AccessDeniedError),
        (obstore.exceptions.UnauthenticatedError("no"), AccessDeniedError),
        (obstore.exceptions.GenericError("GET https://x/y?sig=secret in 5ms\nmore"), RemoteError),
        (obstore.exceptions.GenericError("failed: <?xml version"), RemoteError),
        (FileNotFoundError("x" * 1000), RemoteError),
        (OSError("no"), RemoteError),
        (NotImplementedError("no"), RemoteError),
    ],
)
def test_errors_of_services_are_ours_without_secrets(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception]
) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise error

    for name in ("get", "put", "list", "get_ranges", "delete"):
        monkeypatch.setattr(obstore, name, fail)
    for call in (
        lambda: bucket.get("a") if not isinstance(error, FileNotFoundError) else bucket.delete("a"),
        lambda: bucket.put("a", b""),
        lambda: bucket.list_files("a"),
        lambda: bucket.read("a", [(0, 1)]),
    ):
        with pytest.raises(kind) as caught:
            call()
        text = str(caught.value)
        assert "secret" not in text
        assert "xml" not in text
        assert "\n" not in text
        assert len(text) < 400


def test_a_process_that_was_forked(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bucket.get("a") is None
    monkeypatch.setattr("os.getpid", lambda: 1)
    with pytest.raises(RemoteError, match="memory://pets/a cannot be reached from a process") as e:
        bucket.get("a")
    assert "spawn" in str(e.value.hint)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("obstore"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependencyError, match="a remote in a bucket needs") as caught:
        open_bucket("s3://pets/a", {})
    assert caught.value.hint == "pip install 'tensorvcs[buckets]'"
