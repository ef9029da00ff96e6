"""What every RefStore does, and every transaction of stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorvcs.errors import RefChangedError
from tensorvcs.storage.hdf5_tensors import Hdf5Tensors
from tensorvcs.storage.interfaces import RefChange, Stores
from tensorvcs.storage.lmdb_environment import LmdbEnvironment
from tensorvcs.storage.lmdb_objects import LmdbObjects
from tensorvcs.storage.lmdb_refs import LmdbRefs
from tensorvcs.storage.memory import memory_stores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tensorvcs.storage.interfaces import RefStore


@pytest.fixture(params=["memory", "lmdb"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    if request.param == "memory":
        yield memory_stores()
        return
    environment = LmdbEnvironment(tmp_path / "lmdb")
    yield Stores(
        LmdbObjects(environment),
        Hdf5Tensors(tmp_path, environment),
        LmdbRefs(environment),
        environment.write,
    )
    environment.close()


@pytest.fixture
def refs(stores: Stores) -> RefStore:
    return stores.refs


def put(refs: RefStore, **values: bytes | None) -> None:
    refs.swap([RefChange(name, refs.get(name), value) for name, value in values.items()])


def test_refs_come_and_go(refs: RefStore) -> None:
    assert refs.get("a") is None
    assert dict(refs.items()) == {}
    put(refs, b=b"2", a=b"1")
    put(refs, **{"refs/heads/é": b"", "refs/heads2": b"x"})
    assert refs.get("a") == b"1"
    assert refs.get("refs/heads/é") == b""
    assert list(refs.items()) == ["a", "b", "refs/heads/é", "refs/heads2"]
    assert refs.items("refs/heads/") == {"refs/heads/é": b""}
    assert refs.items("x") == {}
    put(refs, a=None, b=b"3")
    assert next(iter(refs.items().items())) == ("b", b"3")


@pytest.mark.parametrize(
    "changes",
    [
        [RefChange("a", b"0", b"9")],
        [RefChange("a", None, b"9")],
        [RefChange("absent", b"0", b"9")],
        [RefChange("absent", b"0", None)],
        [RefChange("b", b"2", b"9"), RefChange("a", b"0", b"9")],
        [RefChange("new", None, b"9"), RefChange("a", None, None)],
    ],
)
def test_a_swap_that_expects_something_else_changes_nothing(
    refs: RefStore, changes: list[RefChange]
) -> None:
    put(refs, a=b"1", b=b"2")
    with pytest.raises(RefChangedError, match=r"ref (a|absent)"):
        refs.swap(changes, b"never")
    assert dict(refs.items()) == {"a": b"1", "b": b"2"}
    assert refs.operations() == []


def test_operations_are_numbered_and_newest_first(refs: RefStore) -> None:
    for n in range(5):
        refs.swap([RefChange("a", refs.get("a"), b"%d" % n)], b"operation %d" % n)
        refs.swap([RefChange("b", refs.get("b"), b"%d" % n)])
    assert refs.operations(2) == [(5, b"operation 4"), (4, b"operation 3")]
    assert [number for number, _ in refs.operations()] == [5, 4, 3, 2, 1]
    assert refs.operations(0) == []
    refs.swap([], b"alone")
    assert refs.operations(1) == [(6, b"alone")]


@pytest.mark.parametrize("name", ["", "\ud800", "x" * 600])
def test_a_name_that_no_ref_can_have_is_not_there(refs: RefStore, name: str) -> None:
    assert refs.get(name) is None


NAMES = st.sampled_from(["a", "b", "a/b", "ab"])
VALUES = st.one_of(st.none(), st.binary(max_size=3))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(NAMES, VALUES, VALUES), max_size=3), max_size=6))
def test_any_swaps_do_what_they_do_to_a_dict(
    refs: RefStore, swaps: list[list[tuple[str, bytes | None, bytes | None]]]
) -> None:
    put(refs, **dict.fromkeys(refs.items()))
    expected: dict[str, bytes] = {}
    for swap in swaps:
        unique = {name: RefChange(name, before, after) for name, before, after in swap}
        if all(expected.get(c.name) == c.before for c in unique.values()):
            refs.swap(list(unique.values()))
            for change in unique.values():
                expected.pop(change.name, None)
                if change.after is not None:
                    expected[change.name] = change.after
        else:
            with pytest.raises(RefChangedError):
                refs.swap(list(unique.values()))
        assert refs.items() == dict(sorted(expected.items()))


def test_a_transaction_is_one_step(stores: Stores) -> None:
    put(stores.refs, a=b"1")
    with stores.transaction():
        (digest,) = stores.objects.put([b"new"])
        put(stores.refs, a=b"2")
        with stores.transaction():
            put(stores.refs, b=b"3")
        assert stores.objects.get([digest]) == [b"new"]
        assert stores.refs.items() == {"a": b"2", "b": b"3"}
    assert stores.refs.items() == {"a": b"2", "b": b"3"}


def test_a_transaction_that_fails_leaves_nothing(stores: Stores) -> None:
    put(stores.refs, a=b"1")
    with pytest.raises(RefChangedError), stores.transaction():
        (digest,) = stores.objects.put([b"new"])
        stores.refs.swap([RefChange("a", b"1", b"2")], b"never")
        stores.refs.swap([RefChange("b", b"x", b"y")])
    assert stores.refs.items() == {"a": b"1"}
    assert stores.refs.operations() == []
    assert stores.objects.missing([digest]) == [digest]
    put(stores.refs, a=b"3")
    assert stores.refs.get("a") == b"3"
